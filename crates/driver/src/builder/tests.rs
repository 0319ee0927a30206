use onionweave_assign::{Damping, Mixed};
use onionweave_control::Endpoint;
use onionweave_desc::v2::ServiceKey;
use onionweave_publish::Source;
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::*;
use crate::error::InstanceProblem;

fn service() -> Service {
    let key = ServiceKey::generate(|bytes| SysRng.try_fill_bytes(bytes)).unwrap();
    Service::new(key, Box::new(Mixed::default()))
}

fn tor(address: &str) -> Tor {
    Tor::new(address.parse::<Endpoint>().unwrap())
}

fn instance(name: &str) -> Instance {
    Instance::new(name.parse().unwrap(), tor(&format!("{name}:1")))
}

fn with(instance: Instance) -> Builder {
    Builder::new().tor(tor("own:1")).service(service().instance(instance))
}

#[test]
fn plain_publisher_is_right() {
    let two = Builder::new()
        .service(service().instance(instance("a")).instance(instance("b")))
        .service(service().instance(instance("a")));
    two.validate().unwrap();
    with(Instance::from_file("a".parse().unwrap(), "/f"))
        .validate()
        .unwrap();
    with(Instance::from_directories(
        "a".parse().unwrap(),
        "abcdefghijklmnop".parse().unwrap(),
    ))
    .validate()
    .unwrap();
}

#[test]
fn errors_name_the_service() {
    let error = Builder::new().validate().unwrap_err();
    assert!(matches!(error, Error::NoServices), "{error}");

    let one = service().instance(instance("a"));
    for (services, problem) in [
        (vec![one.clone(), one.clone()], ServiceProblem::Twice),
        (vec![service()], ServiceProblem::NoInstances),
        (
            vec![service().instance(Instance::from_file("a".parse().unwrap(), "/f"))],
            ServiceProblem::NoCarrier,
        ),
        (
            vec![one.clone().port("80".parse().unwrap())],
            ServiceProblem::PortsWithoutPool,
        ),
        (
            vec![one.clone().check(Check::tor(80))],
            ServiceProblem::Check(CheckProblem::NoProber),
        ),
        (
            vec![one.clone().load(LoadGauge::command([""]))],
            ServiceProblem::Load(LoadProblem::EmptyCommand),
        ),
    ] {
        let id = services[0].id();
        let builder = services.into_iter().fold(Builder::new(), Builder::service);
        match builder.validate().unwrap_err() {
            Error::Service {
                service,
                problem: found,
            } => assert_eq!((service, found), (id, problem)),
            other => panic!("{other:?} instead of {problem:?}"),
        }
    }
}

#[test]
fn errors_name_the_instance() {
    let second = Duration::from_secs(1);
    let problem = |builder: Builder| match builder.validate().unwrap_err() {
        Error::Instance { instance, problem, .. } => {
            assert_eq!(instance, "a");
            problem
        }
        other => panic!("{other:?}"),
    };
    let file = || Instance::from_file("a".parse().unwrap(), "/f");
    for (instance, expected) in [
        (instance("a").restart([""]), InstanceProblem::EmptyRestart),
        (instance("a").poll(second), InstanceProblem::NotPolled),
        (file().restart(["r"]), InstanceProblem::RestartWithoutControl),
        (
            file().load(LoadGauge::bandwidth()),
            InstanceProblem::BandwidthWithoutControl,
        ),
        (
            instance("a").check(Check::tor(80)),
            InstanceProblem::Check(CheckProblem::NoProber),
        ),
    ] {
        assert_eq!(problem(with(instance)), expected);
    }
    for instance in [
        file().poll(second / 1000),
        file().stale(second),
        Instance::from_directories("a".parse().unwrap(), "abcdefghijklmnop".parse().unwrap()).poll(second / 10),
    ] {
        let found = problem(with(instance));
        assert!(matches!(found, InstanceProblem::OutOfRange { .. }), "{found}");
    }

    let pair = |a: Instance, b: Instance| {
        Builder::new()
            .tor(tor("own:1"))
            .service(service().instance(b).instance(a))
    };
    assert_eq!(
        problem(pair(instance("a"), Instance::from_file("a".parse().unwrap(), "/g"))),
        InstanceProblem::Twice
    );
    assert_eq!(
        problem(pair(Instance::new("a".parse().unwrap(), tor("b:1")), instance("b"))),
        InstanceProblem::SameControl("b:1".into())
    );
    assert_eq!(
        problem(pair(file(), Instance::from_file("b".parse().unwrap(), "/f"))),
        InstanceProblem::SameFile("/f".into())
    );
    let own = service();
    let id = own.id();
    let own = own.instance(Instance::from_directories("a".parse().unwrap(), id));
    let builder = Builder::new().tor(tor("own:1")).service(own);
    assert_eq!(problem(builder), InstanceProblem::OwnAddress(id));
}

#[test]
fn pools_need_a_state_and_something_to_host() {
    let pool = || Pool::new(PoolSize::Exactly(1.try_into().unwrap()));
    let hosted = || service().port("80".parse().unwrap());
    let state = || Builder::new().state("/s");
    state().pool(pool()).service(hosted()).validate().unwrap();
    let long = "x".repeat(100);
    for (builder, expected) in [
        (
            Builder::new().pool(pool()).service(hosted()),
            "pool: needs a state folder",
        ),
        (
            state().pool(pool()).service(service().instance(instance("a"))),
            "pool: no service has ports",
        ),
        (state().pool(pool().spare(17)).service(hosted()), "pool: 17 spares"),
        (
            state().pool(pool().memory(1 << 20)).service(hosted()),
            "pool: memory must be at least 64 MB",
        ),
        (
            state().pool(pool().open_files(999)).service(hosted()),
            "pool: open_files is 999",
        ),
        (
            state()
                .pool(pool().start_pause(Duration::from_millis(1)))
                .service(hosted()),
            "pool: start_pause must lie between 100ms and 1m",
        ),
        (
            state().pool(pool().torrc(["ControlPort 9051"])).service(hosted()),
            "pool: torrc: ControlPort is not allowed",
        ),
        (
            Builder::new().state(format!("/{long}")).pool(pool()).service(hosted()),
            "pool: publisher.state: the path of the control socket",
        ),
    ] {
        let error = builder.validate().expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
    let reserved = state().pool(pool()).service(hosted().instance(instance("pool-1")));
    let error = reserved.validate().unwrap_err();
    let is_reserved = matches!(
        &error,
        Error::Instance {
            problem: InstanceProblem::ReservedName,
            ..
        }
    );
    assert!(is_reserved, "{error}");
}

#[test]
fn mistakes_in_checks_are_told() {
    let second = Duration::from_secs(1);
    for (check, expected) in [
        (Check::tor(80).path("x"), "path \"x\" must begin"),
        (Check::tor(80).path("/ x"), "path \"/ x\" cannot stand"),
        (Check::tor(80).path("/x#y"), "path \"/x#y\" cannot stand"),
        (Check::tor(80).status(204), "status needs http"),
        (Check::http("h:80/x"), "\"h:80/x\" is no URL"),
        (Check::http("https://h/"), "\"https://h/\" is no URL"),
        (Check::http("http://u:p@h/"), "\"http://u:p@h/\" is no URL"),
        (Check::http("http://h:0/"), "\"http://h:0/\" is no URL"),
        (Check::http("http://h:99999/"), "\"http://h:99999/\" is no URL"),
        (Check::http("http:///x"), "\"http:///x\" is no URL"),
        (
            Check::http("http://h/").and_then(|check| check.status(100)),
            "100 is no final HTTP status",
        ),
        (Ok(Check::tor(80).fall(0)), "fall must lie between 1 and 100"),
        (Ok(Check::tor(80).rise(101)), "rise must lie between 1 and 100"),
        (
            Ok(Check::tor(80).every(second / 1000)),
            "every must lie between 100ms and 1h",
        ),
        (
            Ok(Check::tor(80).within(400 * second)),
            "within must lie between 10ms and 5m",
        ),
        (Ok(Check::tor(0)), "tor: the port"),
    ] {
        let error = check.and_then(|check| check.validate());
        let error = error.expect_err(expected).to_string();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn machine_is_told_of_sources_and_loads() {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let own: onionweave_ring::v2::ServiceId = "abcdefghijklmnop".parse().unwrap();
    let directories = |every| Source::Directories { every };
    for (instance, source) in [
        (instance("a"), Source::Control),
        (instance("a").address(own), Source::Control),
        (
            Instance::from_file("a".parse().unwrap(), "/f").stale(hours(3)),
            Source::File,
        ),
        (
            Instance::from_directories("a".parse().unwrap(), own).stale(hours(3)),
            directories(Instance::POLL),
        ),
        (
            Instance::from_directories("a".parse().unwrap(), own)
                .poll(hours(1))
                .stale(hours(3)),
            directories(hours(1)),
        ),
    ] {
        let settings = instance.settings();
        assert_eq!(settings.source, source);
        if source != Source::Control {
            assert_eq!(settings.stale_after, hours(3));
        }
    }

    let balance = Damping::new(0.5, hours(1)).unwrap();
    let plain = service().instance(instance("a")).balance(balance);
    assert_eq!(
        plain.settings(&Builder::new()).unwrap().damping,
        None,
        "nothing is measured"
    );
    let measured = plain
        .instance(Instance::from_file("b".parse().unwrap(), "/f"))
        .load(LoadGauge::bandwidth());
    assert_eq!(measured.settings(&Builder::new()).unwrap().damping, Some(balance));
    let [a, b] = &measured.instances[..] else { panic!() };
    assert!(measured.load_of(a).is_some());
    assert_eq!(measured.load_of(b), None, "no Tor to ask");
}
