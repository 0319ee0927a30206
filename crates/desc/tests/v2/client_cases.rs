//! Table of what Tor accepts and refuses in its file `client_keys`, with the place of the rule
//! below `src/` of tor 0.4.5.9 (`feature/rend`, `feature/dirparse`, `lib`).
//!
//! The table holds both sides: `client_files` asks this crate, `real_client_keys` asks Tor.

use crate::support::{DAMAGED, PKCS8, PLAIN_KEY, PUBLIC, RSA_512, RSA_2048, TRUNCATED};

/// A file that obeys or breaks a rule.
#[derive(Debug, Clone)]
pub(crate) struct ClientsCase {
    pub(crate) name: &'static str,
    pub(crate) rule: &'static str,
    pub(crate) file: String,
    /// The clients that Tor reads, if it does not refuse the file. Where it finds none, this crate
    /// refuses it.
    pub(crate) clients: Option<&'static str>,
}

/// An entry for one client.
pub(crate) const ALICE: &str = "client-name alice\ndescriptor-cookie /7+YSj84F0crQa7k9/ITkA==\n";

pub(crate) fn client_keys() -> Vec<ClientsCase> {
    let key = |file: &[u8]| format!("client-key\n{}", std::str::from_utf8(file).unwrap());
    let alice_and = |more: &str| format!("{ALICE}{more}");
    let edit = |from: &str, to: &str| ALICE.replace(from, to);
    let one = Some("alice");
    let both = Some("alice bob");
    // (name, rule, file, clients)
    let table = [
        // Entries.
        ("as written", "rendservice.c:1678", ALICE.to_owned(), one),
        ("no line end", "rendparse.c:543", ALICE.trim_end().to_owned(), one),
        (
            "comment and space first",
            "rendparse.c:537",
            format!("# by hand\n \t\r\n {ALICE}"),
            one,
        ),
        (
            "another line first",
            "rendparse.c:538",
            format!("clients 1\n{ALICE}"),
            Some(""),
        ),
        (
            "tab after the keyword",
            "rendparse.c:538",
            edit("name ", "name\t"),
            Some(""),
        ),
        ("empty", "rendparse.c:531", String::new(), None),
        ("two", "rendparse.c:541", alice_and(&edit("alice", "bob")), both),
        (
            "blank lines between",
            "rendparse.c:541",
            format!("{ALICE}\n\n{}", edit("alice", "bob")),
            both,
        ),
        (
            "space before the second",
            "rendparse.c:541",
            format!("{ALICE} {}", edit("alice", "bob")),
            None,
        ),
        ("the same twice", "rendparse.c:575", alice_and(ALICE), None),
        (
            "nothing behind a NUL",
            "rendparse.c:531",
            format!("{ALICE}\0{ALICE}"),
            one,
        ),
        ("CR at line ends", "files.c:707", ALICE.replace('\n', "\r\n"), one),
        ("CR anywhere", "files.c:707", ALICE.replace('i', "i\r"), one),
        // Names.
        ("two spaces before", "parsecommon.c:319", edit("name ", "name  "), one),
        ("space behind", "parsecommon.c:325", edit("alice", "alice "), None),
        ("comment behind", "parsecommon.c:325", edit("alice", "alice # x"), None),
        ("none", "rendcommon.c:760", edit("alice", ""), None),
        (
            "of 16 characters",
            "rendcommon.c:760",
            edit("alice", "0123456789+-_aZz"),
            Some("0123456789+-_aZz"),
        ),
        (
            "of 17 characters",
            "rendcommon.c:760",
            edit("alice", "0123456789abcdefg"),
            None,
        ),
        ("with a dot", "rendcommon.c:763", edit("alice", "alice.b"), None),
        ("not ASCII", "rendcommon.c:763", edit("alice", "alic\u{e9}"), None),
        // Cookies.
        ("of 22 characters", "rendcommon.c:942", edit("==", ""), one),
        ("of 22, stealth", "rendparse.c:594", edit("A==", "B"), one),
        ("of 22, of no kind", "rendparse.c:594", edit("A==", "P"), one),
        ("whole, with its kind", "rendcommon.c:942", edit("==", "A="), one),
        ("of 23 characters", "rendcommon.c:948", edit("==", "="), None),
        ("of 25 characters", "rendcommon.c:948", edit("==", "==="), None),
        ("of 18 bytes", "rendcommon.c:958", edit("==", "AA"), None),
        ("not base64", "binascii.c:417", edit("/7+", "_7-"), None),
        ("missing", "parsecommon.c:133", "client-name alice\n".to_owned(), None),
        (
            "without argument",
            "parsecommon.c:336",
            edit(" /7+YSj84F0crQa7k9/ITkA==", ""),
            None,
        ),
        ("two arguments", "parsecommon.c:339", edit("A==", "A== x"), None),
        (
            "comment behind a cookie",
            "parsecommon.c:339",
            edit("A==", "A== # x"),
            one,
        ),
        ("comment at a cookie", "parsecommon.c:339", edit("A==", "A==# x"), None),
        (
            "twice",
            "parsecommon.c:137",
            alice_and("descriptor-cookie /7+YSj84F0crQa7k9/ITkA==\n"),
            None,
        ),
        (
            "opt",
            "parsecommon.c:303",
            edit("descriptor-c", "opt descriptor-c"),
            one,
        ),
        // Keys.
        ("with a key", "rendparse.c:584", alice_and(&key(PLAIN_KEY)), one),
        (
            "key before the cookie",
            "rendparse.c:584",
            edit("descriptor-c", &(key(PLAIN_KEY) + "descriptor-c")),
            one,
        ),
        (
            "key with an argument",
            "parsecommon.c:339",
            alice_and(&key(PLAIN_KEY).replace("-key\n", "-key x\n")),
            None,
        ),
        (
            "two keys",
            "parsecommon.c:137",
            alice_and(&(key(PLAIN_KEY) + &key(PLAIN_KEY))),
            None,
        ),
        ("no object", "parsecommon.c:228", alice_and("client-key\n"), None),
        ("public", "parsecommon.c:407", alice_and(&key(PUBLIC)), None),
        ("another object", "parsecommon.c:228", alice_and(&key(PKCS8)), None),
        ("512 bits", "parsecommon.c:221", alice_and(&key(RSA_512)), None),
        ("2048 bits", "crypto_rsa_openssl.c:645", alice_and(&key(RSA_2048)), None),
        ("damaged", "crypto_rsa_openssl.c:651", alice_and(&key(DAMAGED)), None),
        ("cut short", "parsecommon.c:377", alice_and(&key(TRUNCATED)), None),
        // Everything else.
        (
            "unknown line",
            "parsecommon.c:351",
            alice_and("client-colour blue # or green\n"),
            one,
        ),
        (
            "unknown object",
            "parsecommon.c:351",
            alice_and("x\n-----BEGIN X-----\nAAAA\n-----END X-----\n"),
            one,
        ),
        (
            "unknown damaged key",
            "parsecommon.c:420",
            alice_and(&key(DAMAGED).replace("client-key", "x")),
            None,
        ),
        ("annotation", "parsecommon.c:125", alice_and("@x\n"), None),
    ];
    let case = |(name, rule, file, clients)| ClientsCase {
        name,
        rule,
        file,
        clients,
    };
    table.into_iter().map(case).collect()
}
