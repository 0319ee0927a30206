use std::path::Path;
use std::time::Duration;

use onionweave_assign::{Damping, Weight};
use onionweave_control::Endpoint;
use onionweave_desc::v2::{ClientKeys, ServiceKey};
use onionweave_driver::LoadSource;
use onionweave_publish::Stamp;
use rand::TryRng as _;
use rand::rngs::SysRng;

use super::*;

/// Reads a configuration, and lets the builder judge its values. Each service has a key of its own.
fn parse(text: &str) -> Result<Config, Error> {
    let config = Config::parse(text, Path::new("/etc/ow"))?;
    let (builder, _) = config.assemble(|service| {
        let key = ServiceKey::generate(|bytes| SysRng.try_fill_bytes(bytes)).unwrap();
        let clients = include_bytes!("../../testdata/client_keys");
        let clients = service
            .client_keys
            .as_ref()
            .map(|_| ClientKeys::parse(clients).unwrap());
        Ok((key, clients))
    })?;
    assert!(builder.validate().is_ok());
    Ok(config)
}

const MINIMAL: &str = "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"unix:a.sock\"\n";

/// Whether an error begins with these words, with or without its place in front.
fn says(error: &str, words: &str) -> bool {
    let place = |rest: &str| rest.split_once(": ").map(|(_, what)| what.to_owned());
    let after_place = error.strip_prefix("line ").and_then(place);
    error.starts_with(words) || after_place.is_some_and(|what| what.starts_with(words))
}

#[test]
fn source_is_what_the_keys_say() {
    let text = |keys: &str| {
        format!(
            "[publisher]\ncontrol = \"h:1\"\n[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\n{}\n",
            keys.replace("; ", "\n")
        )
    };
    for keys in [
        "control = \"h:2\"",
        "control = \"h:2\"; address = \"abcdefghijklmnop.onion\"",
        "file = \"f\"; stale = \"3h\"",
        "file = \"f\"; address = \"abcdefghijklmnop\"",
        "address = \"abcdefghijklmnop\"; poll = \"5m\"",
    ] {
        parse(&text(keys)).unwrap();
    }
    for (keys, expected) in [
        ("weight = 1", "needs control, file, or an address of its own"),
        ("control = \"h:2\"; file = \"f\"", "control and file exclude each other"),
        (
            "control = \"h:2\"; poll = \"1m\"",
            "poll and stale are for what is known without",
        ),
        (
            "control = \"h:2\"; stale = \"2h\"",
            "poll and stale are for what is known without",
        ),
        ("file = \"f\"; poll = \"1ms\"", "poll must lie between 100ms and 1h"),
        ("file = \"f\"; poll = \"2h\"", "poll must lie between 100ms and 1h"),
        (
            "address = \"abcdefghijklmnop\"; poll = \"100ms\"",
            "poll must lie between 1s and 1h",
        ),
        ("file = \"f\"; stale = \"59m\"", "stale must lie between 1h and 3days"),
        (
            "address = \"abcdefghijklmnop\"; stale = \"73h\"",
            "stale must lie between 1h and 3days",
        ),
        (
            "address = \"abcdefghijklmnop\"; restart = [\"r\"]",
            "restart needs control",
        ),
    ] {
        let error = parse(&text(keys)).unwrap_err().to_string();
        let [short, long] = ["k", "/etc/ow/k"].map(|key| format!("service {key}: instance \"a\": {expected}"));
        assert!(says(&error, &short) || says(&error, &long), "{keys} gave {error:?}");
    }
    let two = "address = \"abcdefghijklmnop\"; [[service.instance]]; name = \"b\"; address = \"abcdefghijklmnop\"";
    let error = parse(&text(two)).unwrap_err().to_string();
    assert!(
        error.contains("another instance has the address abcdefghijklmnop"),
        "{error}"
    );
}

#[test]
fn minimal_file_has_defaults() {
    let config = parse(MINIMAL).unwrap();
    assert_eq!(config.publisher.heartbeat, Duration::from_secs(2));
    let service = &config.services[0];
    assert!(service.quiet);
    assert_eq!(service.stamp, Stamp::Hour);
    assert_eq!(
        service.instances[0].control,
        Some(Endpoint::Unix("/etc/ow/a.sock".into()))
    );
    assert_eq!(service.instances[0].weight, Weight::default());
    assert_eq!(service.passphrase_file, None);
}

#[test]
fn paths_start_at_the_folder() {
    let config = parse(&MINIMAL.replace("\nkey", "\npassphrase_file = \"p\"\nkey")).unwrap();
    let service = &config.services[0];
    assert_eq!(service.key, Path::new("/etc/ow/k"));
    assert_eq!(service.passphrase_file.as_deref(), Some(Path::new("/etc/ow/p")));
}

#[test]
fn errors_name_the_place() {
    for (text, expected) in [
        ("", "there is no [[service]]"),
        ("[[service]]\nkey = \"k\"\n", "service /etc/ow/k: has no instance"),
        (
            "[publisher]\nheartbeat = \"soon\"\n",
            "line 2, column 13: \"soon\" is no duration",
        ),
        (
            "[publisher]\nheartbeat = \"1ms\"\n[[service]]\nkey = \"k\"\nports = [\"80\"]\n",
            "publisher: heartbeat must lie between",
        ),
        (
            "[publisher]\nhartbeat = \"1s\"\n",
            "line 2, column 1: unknown field `hartbeat`",
        ),
        ("[[service]\n", "line 1, column"),
        (
            "[[service]]\nkey = \"k\"\npolicy = \"fair\"\n",
            "line 3, column 10: there is no policy \"fair\"",
        ),
        (
            "[[service]]\nkey = \"k\"\npolicy = \"race\"\n",
            "line 3, column 10: the policy \"race\" is what happens without a publisher",
        ),
        (
            "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"9051\"\n",
            "line 5, column 11: \"9051\" is no control endpoint",
        ),
        (
            "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"h:1\"\nweight = 0\n",
            "line 6, column 10:",
        ),
        (
            "[[service]]\nkey = \"k\"\nauthorization = \"all\"\n",
            "line 3, column 17: \"all\" is no client authorization",
        ),
        (
            "[[service]]\nkey = \"k\"\nauthorization = \"basic\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"h:1\"\n",
            "service k: basic authorization needs client_keys",
        ),
        (
            "[[service]]\nkey = \"k\"\nclient_keys = \"c\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"h:1\"\n",
            "service k: client_keys needs authorization",
        ),
        (
            "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\ncontrol = \"h:1\"\ncheck = { tcp = \"h\" }\n",
            "line 6, column 9: \"h\" is no address: expected unix:PATH or HOST:PORT",
        ),
        (
            "[publisher.prober]\nsocks = \"9050\"\n",
            "line 2, column 9: \"9050\" is no SOCKS endpoint",
        ),
        (
            "[publisher.prober]\nsocks = \"h:1\"\n",
            "publisher.prober: needs control, or publisher.control",
        ),
        (
            "[publisher]\ncontrol = \"h:1\"\n[publisher.prober]\nsocks = \"h:1\"\ncookie_file = \"c\"\n",
            "publisher.prober: password_file and cookie_file need control",
        ),
        (
            "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a\"\naddress = \"facebook\"\n",
            "line 5, column 11:",
        ),
        (
            "[[service]]\nkey = \"k\"\n[[service.instance]]\nname = \"a b\"\ncontrol = \"h:1\"\n",
            "line 4, column 8: an instance's name",
        ),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(says(&error, expected), "{text:?}\n gave {error:?}\n not {expected:?}");
        assert!(!error.contains('\n'), "{error:?}");
    }
}

const POOL: &str =
    "[publisher]\nstate = \"state\"\n[pool]\n[[service]]\nkey = \"k\"\nports = [\"80\", \"81 unix:web.sock\"]\n";

#[test]
fn pool_has_defaults() {
    let config = parse(POOL).unwrap();
    let pool = config.pool.unwrap();
    assert_eq!(pool, Pool::default());
    assert!(pool.described().places() >= 2, "a core and a spare");
    assert_eq!(config.publisher.state.as_deref(), Some(Path::new("/etc/ow/state")));
    assert_eq!(config.services[0].ports[1].target(), "unix:/etc/ow/web.sock");
    let config = parse(&POOL.replace(
        "[pool]",
        "[pool]\nsize = 3\nspare = 2\nmemory = \"1 GB\"\ntor = \"bin/tor\"",
    ))
    .unwrap();
    let pool = config.pool.unwrap();
    assert_eq!((pool.described().places(), pool.memory), (5, Some(1 << 30)));
    assert_eq!(pool.tor, Path::new("/etc/ow/bin/tor"));
}

#[test]
fn errors_of_the_pool_name_the_key_and_the_limit() {
    let pool = |line: &str| POOL.replace("[pool]", &format!("[pool]\n{line}"));
    for (text, expected) in [
        (
            pool("size = 0"),
            "line 4, column 8: 0 is no size of a pool: write \"cores\" or a number from 1 to 64",
        ),
        (pool("size = 65"), "line 4, column 8: 65 is no size"),
        (pool("size = \"many\""), "line 4, column 8: \"many\" is no size"),
        (
            pool("spare = 17"),
            "line 4, column 9: 17 spares: write a number from 0 to 16",
        ),
        (pool("spare = -1"), "line 4, column 9: -1 spares"),
        (
            pool("memory = \"63 MB\""),
            "line 4, column 10: \"63 MB\" is too little: at least 64 MB",
        ),
        (
            pool("memory = \"much\""),
            "line 4, column 10: \"much\" is no amount of memory",
        ),
        (
            pool("open_files = 999"),
            "line 4, column 14: 999 is too few: at least 1000",
        ),
        (
            pool("start_pause = \"1ms\""),
            "pool: start_pause must lie between 100ms and 1m",
        ),
        (
            pool("start_within = \"1s\""),
            "pool: start_within must lie between 5s and 10m",
        ),
        (pool("tor = \"\""), "pool: tor must name a program"),
        (
            pool("torrc = [\"NumCPUs 1\", \"ControlPort 9051\"]"),
            "line 4, column 9: torrc: ControlPort is not allowed",
        ),
        (
            POOL.replace("state = \"state\"", ""),
            "pool: needs a state folder (publisher.state)",
        ),
        (
            POOL.replace("\"state\"", &format!("\"{}\"", "x".repeat(90))),
            "pool: publisher.state: the path of the control socket /etc/ow/xx",
        ),
        (
            POOL.replace("[pool]\n", ""),
            "service /etc/ow/k: ports are for the instances of a pool",
        ),
        (
            format!("{}[pool]\n[publisher]\nstate = \"s\"\n", MINIMAL),
            "pool: no service has ports",
        ),
        (
            POOL.replace("\"80\"", "\"web\""),
            "line 6, column 9: \"web\" is no port of an onion service",
        ),
        (
            format!("{POOL}authorization = \"stealth\"\nclient_keys = \"c\"\n"),
            "service /etc/ow/k: a pool cannot host a service with stealth authorization",
        ),
        (
            format!("{POOL}[[service.instance]]\nname = \"pool-1\"\ncontrol = \"h:1\"\n"),
            "service /etc/ow/k: instance \"pool-1\": names that begin with pool-",
        ),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        assert!(says(&error, expected), "{text:?}\n gave {error:?}\n not {expected:?}");
    }
}

#[test]
fn instances_have_what_goes_with_their_source() {
    let with = |lines: &str| parse(&MINIMAL.replace("control = \"unix:a.sock\"", lines)).map(drop);
    assert!(with("control = \"h:1\"\ncheck = { tcp = \"h:1\" }").is_ok());
    for (lines, expected) in [
        (
            "file = \"f\"\ncookie_file = \"c\"",
            "password_file and cookie_file need control",
        ),
        ("control = \"h:1\"\nrestart = [\"\"]", "the restart command is empty"),
        (
            "control = \"h:1\"\ncheck = { tor = 80 }",
            "check: a check through Tor needs a prober",
        ),
    ] {
        let error = with(lines).unwrap_err().to_string();
        let [short, long] = ["k", "/etc/ow/k"].map(|key| format!("service {key}: instance \"a\": {expected}"));
        assert!(says(&error, &short) || says(&error, &long), "{lines:?} gave {error:?}");
    }
    let service = parse(&MINIMAL.replace("\nkey", "\ncheck = { tor = 80 }\nkey"));
    let error = service.unwrap_err().to_string();
    let expected = "service /etc/ow/k: check: a check through Tor needs a prober";
    assert!(says(&error, expected), "{error}");
    let error = with("file = \"f\"").unwrap_err().to_string();
    let expected = "service /etc/ow/k: no instance has a control port";
    assert!(says(&error, expected), "{error}");

    let file = "[publisher]\ncontrol = \"unix:own\"\n[publisher.prober]\nsocks = \"unix:socks\"\n".to_owned() + MINIMAL;
    let file = file.replace("control = \"unix:a.sock\"", "file = \"a.desc\"\npoll = \"5s\"");
    let config = parse(&file.replace("\nkey", "\ncheck = { tor = 80 }\nkey")).unwrap();
    let [service] = &config.services[..] else { panic!() };
    let [instance] = &service.instances[..] else { panic!() };
    assert_eq!(instance.file.as_deref(), Some(Path::new("/etc/ow/a.desc")));
    assert_eq!(instance.poll, Some(Duration::from_secs(5)));
    assert_eq!(service.check.as_ref().unwrap().to_string(), "port 80 through Tor");
    let prober = config.publisher.prober.unwrap();
    assert_eq!(prober.socks, Endpoint::Unix("/etc/ow/socks".into()));
}

#[test]
fn loads_are_read_where_the_keys_say() {
    let text = MINIMAL.replace(
        "\nkey",
        "\nload = { bandwidth = true }\nbalance = { strength = 0.5 }\nkey",
    );
    let file = format!("{text}[[service.instance]]\nname = \"b\"\nfile = \"f\"\n");
    let config = parse(&file).unwrap();
    let service = &config.services[0];
    assert_eq!(service.load.as_ref().unwrap().source, LoadSource::Bandwidth);
    let expected = Damping::new(0.5, Duration::from_secs(300)).unwrap();
    assert_eq!(service.balance, expected);

    for (balance, expected) in [
        ("strength = 1.0", "strength 1 is not at least 0 and less than 1"),
        ("strength = -0.1", "strength -0.1 is not at least 0 and less than 1"),
        ("strength = nan", "strength NaN is not at least 0 and less than 1"),
        ("time = \"1ms\"", "time must lie between 1s and 24h"),
        ("power = 1", "unknown field `power`"),
    ] {
        let text = MINIMAL.replace("\nkey", &format!("\nbalance = {{ {balance} }}\nkey"));
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.contains(expected), "{balance} gave {error:?}");
    }
    let text = file.replace("file = \"f\"", "file = \"f\"\nload = { bandwidth = true }");
    let error = parse(&text).unwrap_err().to_string();
    assert!(error.contains("bandwidth as load needs control"), "{error}");
}

#[test]
fn weights_are_positive_whole_numbers() {
    for bad in ["0", "-1", "1.5", "inf", "-inf", "nan", "4294967296", "\"2\""] {
        let error = parse(&format!("{MINIMAL}weight = {bad}\n")).unwrap_err().to_string();
        assert!(
            error.contains("line 6, column 10") && error.contains("nonzero u32"),
            "{error}"
        );
    }
    let config = parse(&format!("{MINIMAL}weight = 4294967295\n")).unwrap();
    assert_eq!(config.services[0].instances[0].weight.as_u32(), u32::MAX);
}

#[test]
fn doubles_are_refused() {
    let second = |name, control| format!("{MINIMAL}[[service.instance]]\nname = \"{name}\"\ncontrol = \"{control}\"\n");
    let error = parse(&second("a", "h:1")).unwrap_err().to_string();
    assert!(
        error.contains("instance \"a\": two instances have this name"),
        "{error}"
    );
    let error = parse(&second("b", "unix:a.sock")).unwrap_err().to_string();
    assert!(error.contains("another instance has the control port"), "{error}");
    let file = |name| format!("[[service.instance]]\nname = \"{name}\"\nfile = \"f\"\n");
    let error = parse(&format!("{MINIMAL}{}{}", file("b"), file("c")))
        .unwrap_err()
        .to_string();
    assert!(error.contains("another instance has the file /etc/ow/f"), "{error}");
}

#[test]
fn mistakes_that_values_make_together_are_told_with_their_place() {
    let text = format!("{MINIMAL}[[service.instance]]\nname = \"b\"\ncontrol = \"unix:a.sock\"\n");
    let error = parse(&text).unwrap_err().to_string();
    assert!(
        error.starts_with("line 6, column 1: service /etc/ow/k: instance \"b\": another"),
        "{error}"
    );
    let error = parse(&format!("[publisher]\nheartbeat = \"1ms\"\n{MINIMAL}"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("line 2, column 13: publisher: heartbeat must lie"),
        "{error}"
    );
    let error = parse(&format!("{MINIMAL}[[service]]\nkey = \"k\"\n"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("line 6, column 1: service k: stands twice"),
        "{error}"
    );
}

/// Lines of the sample that show a key behind a `#`.
fn shown_keys() -> impl Iterator<Item = (usize, &'static str)> {
    let lines = crate::SAMPLE.lines().enumerate();
    lines
        .filter_map(|(number, line)| Some((number, line.strip_prefix("# ")?)))
        .filter(|(_, line)| {
            let word = line.split(' ').next().unwrap_or_default();
            line.starts_with('[') || (word.chars().all(|c| c.is_ascii_lowercase() || c == '_') && line.contains(" = "))
        })
}

#[test]
fn sample_configuration_is_right() {
    let config = parse(crate::SAMPLE).unwrap();
    assert_eq!(config.services[0].instances.len(), 2);
}

#[test]
fn every_key_that_the_sample_shows_exists() {
    let mut keys = 0;
    let mut table = "";
    for (number, shown) in shown_keys() {
        if shown.starts_with('[') {
            table = shown;
            continue;
        }
        // A table that is itself behind a # begins right above.
        let above: Vec<_> = crate::SAMPLE.lines().take(number).collect();
        let in_table = above
            .iter()
            .rev()
            .take_while(|line| !line.is_empty())
            .any(|line| line.ends_with(table));
        let text = match in_table && !table.is_empty() {
            true if table.starts_with("[[service.instance]]") => {
                format!("{MINIMAL}[[service.instance]]\nname = \"z\"\ncontrol = \"h:9\"\n{shown}\n")
            }
            true => format!("{}\n{shown}\n{MINIMAL}", table.split(' ').next().unwrap()),
            false => {
                let mut lines: Vec<_> = crate::SAMPLE.lines().collect();
                lines[number] = shown;
                lines.join("\n")
            }
        };
        // A key alone may want another beside it, or stand twice; it may not be unknown or of
        // another form.
        if let Err(error) = toml::from_str::<Config>(&text) {
            let message = error.message();
            assert!(
                message.contains("missing field") || message.contains("duplicate key"),
                "{shown}: {message}"
            );
        }
        keys += 1;
    }
    assert!(keys >= 40, "{keys}");
}

#[test]
fn sample_shows_every_key() {
    for (table, before) in [
        ("[publisher]", ""),
        ("[publisher.prober]", ""),
        ("[pool]", ""),
        ("[[service]]", ""),
        ("[[service.instance]]", "[[service]]\nkey = \"k\"\n"),
    ] {
        let text = format!("{before}{table}\nno_such_key = 1\n");
        let error = toml::from_str::<Config>(&text).unwrap_err();
        // unknown field `no_such_key`, expected one of `a`, `b`
        let (_, expected) = error.message().split_once("expected").unwrap();
        let keys: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
        assert!(keys.len() >= 4, "{expected}");
        for key in keys.iter().filter(|&&key| key != "instance" && key != "prober") {
            let shown = crate::SAMPLE
                .lines()
                .any(|line| line.trim_start_matches("# ").starts_with(&format!("{key} = ")));
            assert!(shown, "{table}: {key} is not in the sample");
        }
    }
}
