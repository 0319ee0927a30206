//! Private networks of real tor processes.

use std::time::{Duration, Instant};

use onionweave_testnet::{Backend, Network, ServiceKey};

/// A network, an instance on it, and a client that reaches it.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_reaches_an_onion_service() {
    let start = Instant::now();
    onionweave_testnet::tor::binary_with(|p| println!("{:?} {p:?}", start.elapsed())).unwrap();
    let start = Instant::now();
    let network = Network::builder().on_progress(move |p| println!("{:?} {p:?}", start.elapsed())).start().await.unwrap();
    println!("ready {:?}", start.elapsed());
    let instance = network.instance("a").start().await.unwrap();
    instance.wait_for_descriptor().await.unwrap();
    println!("descriptor {:?}", start.elapsed());
    let client = network.client("c").start().await.unwrap();
    println!("client {:?}", start.elapsed());
    assert_eq!(client.fetch(&instance.onion(), 80).await.unwrap(), "a");
    println!("fetched {:?}", start.elapsed());
}
