//! The typed calls on a connection.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Connection;
use crate::reply::unexpected;
use crate::{
    AddOnion, AddressMapping, CircuitId, CircuitUse, ClientAuth, ClientAuthAdded, CloseReason, Command, ConfValue,
    Error, EventKind, ExtendCircuit, HsFetch, OnionAdded, Reply, RouterPurpose, Signal, StreamCloseReason, StreamId,
};

/// Calls, one for each command. Those that are given what can't be written into a command fail with
/// [`Error::Argument`] or [`Error::CommandTooLong`] and send nothing.
impl Connection {
    /// The value of one `GETINFO` key. A value of several lines has them ended by LF, the last one
    /// too.
    ///
    /// An empty value is no error: every `consensus/...` and `ns/...` key is empty while Tor has no
    /// consensus (feature/nodelist/networkstatus.c:2631-2706).
    ///
    /// # Errors
    /// [`Error::Rejected`] (552 for a key that Tor does not know, 551 for what it does not have),
    /// [`Error::NotUtf8`], and those of [`command`](Self::command).
    pub async fn get_info(&self, key: &str) -> Result<String, Error> {
        into_text(key, self.get_info_bytes(key).await?)
    }

    /// The value of one `GETINFO` key as bytes: descriptors may hold text in any encoding.
    ///
    /// # Errors
    /// As [`get_info`](Self::get_info), but never [`Error::NotUtf8`].
    pub async fn get_info_bytes(&self, key: &str) -> Result<Vec<u8>, Error> {
        let values = self.get_info_values(&[key]).await?;
        // One value per key.
        Ok(values.into_iter().next().unwrap_or_default())
    }

    /// The values of several `GETINFO` keys at one moment, by key.
    ///
    /// # Errors
    /// As [`get_info`](Self::get_info). One key that fails makes Tor drop all values
    /// (feature/control/control_getinfo.c:1775-1823).
    pub async fn get_infos(&self, keys: &[&str]) -> Result<BTreeMap<String, String>, Error> {
        let values = self.get_info_values(keys).await?;
        keys.iter()
            .zip(values)
            .map(|(key, value)| Ok(((*key).to_owned(), into_text(key, value)?)))
            .collect()
    }

    async fn get_info_values(&self, keys: &[&str]) -> Result<Vec<Vec<u8>>, Error> {
        let command = Command::get_info(keys)?;
        let reply = self.command(command, self.command_deadline).await?;
        let values = reply.into_values(keys);
        self.close_unless_expected(values)
    }

    /// Asks for exactly these events from now on. (A tracked upload or fetch that needs others gets
    /// them without showing them in [`Events`](super::Events).)
    ///
    /// # Errors
    /// [`Error::Rejected`] with 552 for an event that Tor does not know, when the old set stays;
    /// those of [`command`](Self::command).
    pub async fn set_events(&self, kinds: &[EventKind]) -> Result<(), Error> {
        self.subscriptions.set(self, kinds).await
    }

    /// Asks directories for a descriptor. What they say comes as events; a directory that is down
    /// never gives one.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 552 for a server that Tor does not know, 512 without server for a
    /// descriptor ID, 513 from a Tor without v2; those of [`command`](Self::command).
    pub async fn hs_fetch(&self, fetch: &HsFetch) -> Result<(), Error> {
        self.simple(Command::hs_fetch(fetch)?).await
    }

    /// Uploads a descriptor, as [`Command::hs_post`] says. `Ok` means that Tor began; the result
    /// comes as events, or never.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 554 for an invalid descriptor, 552 for a server that Tor does not know,
    /// when nothing is sent to any; [`Error::Deadline`] and a closed connection where Tor has no
    /// v2; those of [`command`](Self::command).
    pub async fn hs_post(&self, servers: &[[u8; 20]], hs_address: Option<&str>, body: &[u8]) -> Result<(), Error> {
        self.simple(Command::hs_post(servers, hs_address, body)?).await
    }

    /// Sends a signal. After [`Signal::Halt`] the connection ends.
    ///
    /// # Errors
    /// Those of [`command`](Self::command).
    pub async fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.simple(Command::signal(signal)).await
    }

    /// Sets options, all or none.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 552 for an option that Tor does not know, 513 for a value, 553 where it
    /// can't be set while Tor runs; those of [`command`](Self::command).
    pub async fn set_conf(&self, options: &[(&str, &str)]) -> Result<(), Error> {
        self.simple(Command::set_conf(options)?).await
    }

    /// Sets options back to their defaults.
    ///
    /// # Errors
    /// As [`set_conf`](Self::set_conf).
    pub async fn reset_conf(&self, options: &[&str]) -> Result<(), Error> {
        self.simple(Command::reset_conf(options)?).await
    }

    /// Makes Tor exit when this connection ends.
    ///
    /// # Errors
    /// Those of [`command`](Self::command).
    pub async fn take_ownership(&self) -> Result<(), Error> {
        self.simple(Command::take_ownership()).await
    }

    /// The values of options, in the order of the question; an option that is a list comes several
    /// times.
    ///
    /// # Errors
    /// [`Error::Rejected`] with 552 if Tor does not know one of them; those of
    /// [`command`](Self::command).
    pub async fn get_conf(&self, options: &[&str]) -> Result<Vec<ConfValue>, Error> {
        self.ask(Command::get_conf(options)?, ConfValue::from_reply).await
    }

    /// Replaces the whole configuration by this torrc.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 552 for a torrc that can't be read, 553 for what can't be set while Tor
    /// runs; those of [`command`](Self::command).
    pub async fn load_conf(&self, torrc: &str) -> Result<(), Error> {
        self.simple(Command::load_conf(torrc)?).await
    }

    /// Writes the configuration to the torrc; `force` also where it includes other files.
    ///
    /// # Errors
    /// [`Error::Rejected`] with 551 where it can't be written; those of [`command`](Self::command).
    pub async fn save_conf(&self, force: bool) -> Result<(), Error> {
        self.simple(Command::save_conf(force)).await
    }

    /// Maps addresses to others. Each pair has its own answer, in order.
    ///
    /// # Errors
    /// [`Error::UnexpectedReply`] unless there is one answer for each; those of
    /// [`command`](Self::command).
    pub async fn map_address(&self, pairs: &[(&str, &str)]) -> Result<Vec<AddressMapping>, Error> {
        let command = Command::map_address(pairs)?;
        // A refusal of one pair is no refusal of the command.
        let reply = self.send(command, self.command_deadline).await?;
        let mappings = match AddressMapping::from_reply(reply.clone()) {
            Ok(mappings) if mappings.len() == pairs.len() => Ok(mappings),
            Ok(_) => Err(unexpected("MAPADDRESS", "one line for each pair", &reply)),
            Err(error) => Err(error),
        };
        self.close_unless_expected(mappings)
    }

    /// Looks up addresses. The answers come as [`AddrMap`](crate::AddrMap) events.
    ///
    /// # Errors
    /// Those of [`command`](Self::command).
    pub async fn resolve(&self, addresses: &[&str], reverse: bool) -> Result<(), Error> {
        self.simple(Command::resolve(addresses, reverse)?).await
    }

    /// Makes an onion service.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 550 if Tor has it already, 512 or 513 for what Tor does not take, 551;
    /// those of [`command`](Self::command).
    pub async fn add_onion(&self, onion: &AddOnion) -> Result<OnionAdded, Error> {
        self.ask(Command::add_onion(onion)?, OnionAdded::from_reply).await
    }

    /// Ends an onion service that this connection made, or a detached one.
    ///
    /// # Errors
    /// [`Error::Rejected`] with 552 for any other; those of [`command`](Self::command).
    pub async fn del_onion(&self, address: &str) -> Result<(), Error> {
        self.simple(Command::del_onion(address)?).await
    }

    /// Gives Tor as a client the key for a v3 service.
    ///
    /// # Errors
    /// [`Error::Rejected`] with 553 where a permanent key can't be stored; those of
    /// [`command`](Self::command).
    pub async fn onion_client_auth_add(&self, client: &ClientAuth) -> Result<ClientAuthAdded, Error> {
        self.ask(Command::onion_client_auth_add(client)?, ClientAuthAdded::from_reply)
            .await
    }

    /// Takes the key for a v3 service away. `false` if there was none.
    ///
    /// # Errors
    /// Those of [`command`](Self::command).
    pub async fn onion_client_auth_remove(&self, address: &str) -> Result<bool, Error> {
        let command = Command::onion_client_auth_remove(address)?;
        let reply = self.command(command, self.command_deadline).await?;
        Ok(reply.code() == 250)
    }

    /// The keys that Tor as a client has for this v3 service, or for all.
    ///
    /// # Errors
    /// Those of [`command`](Self::command).
    pub async fn onion_client_auth_view(&self, address: Option<&str>) -> Result<Vec<ClientAuth>, Error> {
        self.ask(Command::onion_client_auth_view(address)?, ClientAuth::from_reply)
            .await
    }

    /// Builds a circuit, or makes one longer, and gives its number at once; `CIRC` events tell how
    /// it goes on.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 552 for a relay, purpose or circuit that Tor does not know, 551 where
    /// it could not begin; those of [`command`](Self::command).
    pub async fn extend_circuit(&self, extension: &ExtendCircuit) -> Result<CircuitId, Error> {
        self.ask(Command::extend_circuit(extension)?, CircuitId::from_reply)
            .await
    }

    /// Says what a circuit may be used for.
    ///
    /// # Errors
    /// [`Error::Rejected`] with 552 for a circuit or purpose that Tor does not know; those of
    /// [`command`](Self::command).
    pub async fn set_circuit_purpose(&self, circuit: CircuitId, purpose: &CircuitUse) -> Result<(), Error> {
        self.simple(Command::set_circuit_purpose(circuit, purpose)?).await
    }

    /// Closes a circuit, with `if_unused` only if no stream uses it.
    ///
    /// # Errors
    /// [`Error::Rejected`] with 552 for a circuit that Tor does not know; those of
    /// [`command`](Self::command).
    pub async fn close_circuit(&self, circuit: CircuitId, if_unused: bool) -> Result<(), Error> {
        self.simple(Command::close_circuit(circuit, if_unused)).await
    }

    /// Puts a stream on a circuit, or without one lets Tor choose.
    ///
    /// # Errors
    /// [`Error::Rejected`]: 552 for a stream or circuit that Tor does not know, 555 for a stream
    /// that is not the controller's, 551 where it can't be attached; those of
    /// [`command`](Self::command).
    pub async fn attach_stream(
        &self,
        stream: StreamId,
        circuit: Option<CircuitId>,
        hop: Option<u8>,
    ) -> Result<(), Error> {
        self.simple(Command::attach_stream(stream, circuit, hop)).await
    }

    /// Gives a stream another target.
    ///
    /// # Errors
    /// [`Error::Rejected`] with 552 for a stream that Tor does not know; those of
    /// [`command`](Self::command).
    pub async fn redirect_stream(&self, stream: StreamId, address: &str, port: Option<u16>) -> Result<(), Error> {
        self.simple(Command::redirect_stream(stream, address, port)?).await
    }

    /// Ends a stream.
    ///
    /// # Errors
    /// [`Error::Rejected`] with 552 for a stream that Tor does not know; those of
    /// [`command`](Self::command).
    pub async fn close_stream(&self, stream: StreamId, reason: StreamCloseReason) -> Result<(), Error> {
        self.simple(Command::close_stream(stream, reason)).await
    }

    /// Gives Tor a relay's descriptor. `false` if Tor took it but did not need it (251).
    ///
    /// # Errors
    /// [`Error::Rejected`]: 554 for a descriptor that can't be read, 552 for a purpose that Tor
    /// does not know; those of [`command`](Self::command).
    pub async fn post_descriptor(
        &self,
        descriptor: &[u8],
        purpose: Option<&RouterPurpose>,
        cache: bool,
    ) -> Result<bool, Error> {
        let command = Command::post_descriptor(descriptor, purpose, cache)?;
        let reply = self.command(command, self.command_deadline).await?;
        Ok(reply.code() == 250)
    }

    /// Turns features of the protocol on; all that C Tor knows are on already.
    ///
    /// # Errors
    /// [`Error::Rejected`] with 552 for a feature that Tor does not know; those of
    /// [`command`](Self::command).
    pub async fn use_feature(&self, features: &[&str]) -> Result<(), Error> {
        self.simple(Command::use_feature(features)?).await
    }

    /// Makes Tor choose new entry guards.
    ///
    /// # Errors
    /// Those of [`command`](Self::command).
    pub async fn drop_guards(&self) -> Result<(), Error> {
        self.simple(Command::drop_guards()).await
    }

    /// Makes Tor forget how long circuits took to be built.
    ///
    /// # Errors
    /// Those of [`command`](Self::command).
    pub async fn drop_timeouts(&self) -> Result<(), Error> {
        self.simple(Command::drop_timeouts()).await
    }

    /// Allows Tor to live on when this connection ends, after all.
    ///
    /// # Errors
    /// Those of [`command`](Self::command).
    pub async fn drop_ownership(&self) -> Result<(), Error> {
        self.simple(Command::drop_ownership()).await
    }

    /// Asks Tor to close the connection, and waits until it has.
    ///
    /// # Errors
    /// Those of [`command`](Self::command).
    pub async fn quit(&self) -> Result<(), Error> {
        self.command(Command::quit(), self.command_deadline).await?;
        self.closed().await;
        Ok(())
    }

    /// A command whose positive reply says something.
    async fn ask<T>(&self, command: Command, read: impl FnOnce(Reply) -> Result<T, Error>) -> Result<T, Error> {
        // `read` tells a refusal from a reply of another form.
        let reply = self.send(command, self.command_deadline).await?;
        let result = read(reply);
        match result {
            Err(Error::Rejected { .. }) => result,
            _ => self.close_unless_expected(result),
        }
    }

    /// A command whose positive reply is one line.
    pub(super) async fn simple(&self, command: Command) -> Result<(), Error> {
        let name = command.name().to_owned();
        let reply = self.command(command, self.command_deadline).await?;
        self.close_unless_expected(reply.into_ok(&name))
    }

    /// A reply of another form is another command's: from here on no reply could be trusted.
    pub(super) fn close_unless_expected<T>(&self, result: Result<T, Error>) -> Result<T, Error> {
        if let Err(error) = &result {
            let _ = self.close.try_send(CloseReason::Protocol(Arc::new(error.clone())));
        }
        result
    }
}

fn into_text(key: &str, value: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(value).map_err(|error| Error::NotUtf8 {
        key: key.to_owned(),
        at: error.utf8_error().valid_up_to(),
    })
}
