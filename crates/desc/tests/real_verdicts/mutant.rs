//! Texts that are nearly descriptors, made by changing good ones in the ways that parsers differ
//! in, and signing them anew.

use std::fmt;

use data_encoding::BASE64;
use num_bigint_dig::ModInverse;
use onionweave_desc::v2::{IntroductionPoint, ServiceKey};
use onionweave_ring::v2::{DescriptorId, SecretIdPart};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};
use sha1::{Digest, Sha1};

use crate::support::{self, BASIC, BASIC_KEY, LIMIT, ODD_EXPONENT_KEY, PLAIN, PLAIN_KEY, SECOND, many_points, object};

/// Stands for the signature until it can be computed.
const SIGNATURE: &[u8] = b"\xf1signature\xf2\n";
const START: &[u8] = b"rendezvous-service-descriptor ";

/// Originals that mutants are made from.
pub(crate) struct Stock {
    keys: Vec<Key>,
    /// Decoded lists of introduction points, readable or not.
    lists: Vec<Vec<u8>>,
    /// Whole descriptors, to append and to splice from.
    texts: Vec<Vec<u8>>,
    /// Objects for items that nobody knows.
    objects: Vec<Vec<u8>>,
    /// Two primes of 256 bits.
    small_primes: Vec<BigUint>,
}

struct Key {
    service: ServiceKey,
    private: RsaPrivateKey,
}

impl Key {
    fn new(pem: &[u8]) -> Self {
        let service = support::key(pem);
        let private = RsaPrivateKey::from_pkcs1_pem(&service.to_pem()).unwrap();
        Self { service, private }
    }

    /// Pads and signs whatever is asked for, as long as it fits.
    fn sign(&self, payload: &[u8]) -> Vec<u8> {
        self.private.sign(Pkcs1v15Sign::new_unprefixed(), payload).unwrap()
    }
}

impl Stock {
    pub(crate) fn new() -> Self {
        let list = |count| {
            many_points(count)
                .iter()
                .flat_map(|point| point.to_string().into_bytes())
                .collect()
        };
        let message = |text: &[u8]| {
            let start = support::position(b"-----BEGIN MESSAGE-----\n", text) + 24;
            let end = support::position(b"-----END MESSAGE", text);
            let lines: Vec<u8> = text[start..end].iter().copied().filter(|byte| *byte != b'\n').collect();
            BASE64.decode(&lines).unwrap()
        };
        let small = include_bytes!("../../testdata/keys/rsa-512.pem");
        let small_key = RsaPrivateKey::from_pkcs1_pem(std::str::from_utf8(small).unwrap()).unwrap();
        Self {
            keys: [PLAIN_KEY, PLAIN_KEY, PLAIN_KEY, BASIC_KEY, ODD_EXPONENT_KEY]
                .map(Key::new)
                .into(),
            lists: vec![
                message(PLAIN),
                message(SECOND),
                message(BASIC),
                list(1),
                list(10),
                list(11),
                vec![],
                b"?".to_vec(),
            ],
            texts: [PLAIN, SECOND, BASIC].map(support::completed).into(),
            objects: vec![
                object("X", b"anything"),
                object("RSA PUBLIC KEY", support::key(BASIC_KEY).public_key().as_der()),
                object("RSA PUBLIC KEY", b"a"),
                PLAIN_KEY.to_vec(),
                small.to_vec(),
                support::replace(PLAIN_KEY, b"M", b"N"),
                object("MESSAGE", b"introduction-point "),
                object("SIGNATURE", &[7; 128]),
            ],
            small_primes: small_key.primes().to_vec(),
        }
    }
}

/// A text, and how it came about.
pub(crate) struct Mutant {
    seed: u64,
    number: u64,
    steps: Vec<String>,
    /// Ends in LF.
    pub(crate) text: Vec<u8>,
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "mutant {} of seed {}, made by {:?}:\n{}",
            self.number,
            self.seed,
            self.steps,
            self.text.escape_ascii()
        )
    }
}

impl Mutant {
    /// The mutant with this number. The same seed and number always give the same.
    pub(crate) fn new(stock: &Stock, seed: u64, number: u64) -> Self {
        Self::made(stock, seed, number, Maker::make)
    }

    /// The same with a list of introduction points, which need not end in LF.
    pub(crate) fn list(stock: &Stock, seed: u64, number: u64) -> Self {
        Self::made(stock, seed, number, Maker::make_list)
    }

    fn made<'a>(stock: &'a Stock, seed: u64, number: u64, make: fn(&mut Maker<'a>) -> Vec<u8>) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        let mut maker = Maker {
            stock,
            rng,
            steps: Vec::new(),
        };
        let text = make(&mut maker);
        let steps = maker.steps;
        Self {
            seed,
            number,
            steps,
            text,
        }
    }
}

struct Maker<'a> {
    stock: &'a Stock,
    rng: ChaCha8Rng,
    steps: Vec<String>,
}

impl Maker<'_> {
    fn make(&mut self) -> Vec<u8> {
        let stock = self.stock;
        let key = stock.keys.choose(&mut self.rng).unwrap();
        let mut items = self.items(key);
        for _ in 0..*self.pick(&[0, 0, 1, 1, 1, 1, 2, 3]) {
            self.change(&mut items);
        }
        let mut text = items.concat();
        if self.chance(16) {
            self.damage(&mut text);
        }
        let mut text = self.signed(text, key);
        if self.chance(5) {
            self.append(&mut text);
        }
        if self.chance(24) {
            self.damage(&mut text);
        }
        if text.last() != Some(&b'\n') {
            text.push(b'\n');
        }
        text
    }

    fn make_list(&mut self) -> Vec<u8> {
        let count = *self.pick(&[1, 2, 2, 3, 9, 10]);
        let mut points: Vec<Vec<Vec<u8>>> = many_points(count).iter().map(items_of).collect();
        let (stock, point) = (self.stock, self.below(count));
        let items = &mut points[point];
        if self.chance(4) {
            let key = self.pick(&stock.keys);
            let item = *self.pick(&[3, 4]);
            let keyword: &[u8] = if item == 3 { b"onion-key\n" } else { b"service-key\n" };
            items[item] = [keyword, &self.public_key(key)].concat();
        }
        for _ in 0..*self.pick(&[0, 1, 1, 1, 1, 2]) {
            self.change(items);
        }
        let mut list = points.concat().concat();
        match self.below(12) {
            0 => self.damage(&mut list),
            1 => {
                let tail = self.stranger();
                list.extend(tail);
            }
            2 => list.truncate(list.trim_ascii_end().len()),
            _ => list.push(b'\n'),
        }
        list
    }

    fn did(&mut self, step: impl Into<String>) {
        self.steps.push(step.into());
    }

    fn chance(&mut self, of: u32) -> bool {
        self.rng.random_ratio(1, of)
    }

    fn pick<'b, T>(&mut self, from: &'b [T]) -> &'b T {
        from.choose(&mut self.rng).unwrap()
    }

    fn one_of<'b>(&mut self, texts: &[&'b [u8]]) -> &'b [u8] {
        texts.choose(&mut self.rng).unwrap()
    }

    fn below(&mut self, end: usize) -> usize {
        self.rng.random_range(0..end.max(1))
    }

    /// A good descriptor of this key, one element for each item.
    fn items(&mut self, key: &Key) -> Vec<Vec<u8>> {
        let secret_id_part = self.secret_id_part();
        let id = DescriptorId::new(
            &key.service.service_id(),
            &secret_id_part.parse::<SecretIdPart>().unwrap(),
        );
        let public = match self.chance(4) {
            true => self.public_key(key),
            false => key.service.public_key().to_string().into_bytes(),
        };
        let mut items = vec![
            format!("rendezvous-service-descriptor {id}\n").into_bytes(),
            b"version 2\n".to_vec(),
            [b"permanent-key\n", &public[..]].concat(),
            format!("secret-id-part {secret_id_part}\n").into_bytes(),
            b"publication-time 2026-11-22 12:00:00\n".to_vec(),
            b"protocol-versions 2,3\n".to_vec(),
        ];
        if !self.chance(8) {
            let stock = self.stock;
            let list = self.pick(&stock.lists);
            items.push([b"introduction-points\n", &object("MESSAGE", list)[..]].concat());
        }
        items.push([b"signature\n", SIGNATURE].concat());
        items
    }

    fn secret_id_part(&mut self) -> String {
        (0..32)
            .map(|_| char::from(*self.pick(b"abcdefghijklmnopqrstuvwxyz234567")))
            .collect()
    }

    /// Changes one item, or their order.
    fn change(&mut self, items: &mut Vec<Vec<u8>>) {
        // Seldom the first, or the last, without which little is left.
        let last = items.len() - 1;
        let mut index = || match self.rng.random_ratio(1, 6) {
            true => self.rng.random_range(0..=last),
            false => self.rng.random_range(last.min(1)..last.max(1)).min(last),
        };
        let (index, other) = (index(), index());
        match self.below(20) {
            0 => {
                self.did(format!("item {index} again as {other}"));
                let item = items[index].clone();
                items.insert(other, item);
            }
            1 => {
                self.did(format!("without item {index}"));
                items.remove(index);
                if items.is_empty() {
                    items.push(b"\n".to_vec());
                }
            }
            2 | 3 => {
                self.did(format!("items {index} and {other} swapped"));
                items.swap(index, other);
            }
            4..=7 => {
                let item = self.stranger();
                self.did(format!("before item {index}: {:?}", item.escape_ascii().to_string()));
                items.insert(index, item);
            }
            8..=13 => self.change_line(&mut items[index]),
            _ => {
                let mut with_object: Vec<&mut Vec<u8>> =
                    items.iter_mut().filter(|item| contains(item, b"-----BEGIN")).collect();
                let index = self.below(with_object.len());
                if let Some(item) = with_object.get_mut(index) {
                    self.change_object(item);
                }
            }
        }
    }

    /// Something that stands between items.
    fn stranger(&mut self) -> Vec<u8> {
        let lines: &[&[u8]] = &[
            b"\n",
            b" \t\r\n",
            b"#\n",
            b"# comment\n",
            b" # comment\n",
            b"#version 3\n",
            b"opt\n",
            b"opt \n",
            b"opt\t#\n",
            b"opt opt\n",
            b"mood\n",
            b"mood good or bad\n",
            b"mood\r\n",
            b"opt mood\n",
            b"@type x\n",
            b" @type x\n",
            b"opt @type x\n",
            b"@\n",
            b"mood @\n",
            b"\x0b\n",
            b"\x0c\n",
            b"\0\n",
            b"\x7f\xff\n",
            b"\xe2\x80\xa8\n",
            b"-----BEGIN \n",
            b"-----BEGIN -----\n",
            b"-----BEGIN x-----\n-----END x-----\n",
            b"-----BEGIN x-----\n",
            b"-----END x-----\n",
            b"-----BEGIN x\n-----END x\n",
            b"----\n",
            b"Version 2\n",
            b"version\n",
            b"signatures\n",
            b"signature-x y\n",
            b"opt signature\n",
            b" signature\n",
            b"rendezvous-service-descriptor\n",
            b" rendezvous-service-descriptor x\n",
            b"opt",
            b"mood",
            b"#",
            b"\\\n",
            b".\n",
            b"..\n",
            b".x\n",
            b"\r",
            b"\r\n",
            b"\r\r\n",
            b"650 OK\n",
            b"mood \x0c# good\n",
            b"o\n",
            b"optional\n",
        ];
        let mut text = self.one_of(lines).to_vec();
        if self.chance(3) {
            let stock = self.stock;
            let mut object = match self.chance(3) {
                true => self.private_key(),
                false => self.pick(&stock.objects).clone(),
            };
            if self.chance(2) {
                let at = self.below(object.len());
                let text = self.piece();
                object.splice(at..at, text);
            }
            text.extend(object);
        }
        text
    }

    /// Changes the line that an item begins with.
    fn change_line(&mut self, item: &mut Vec<u8>) {
        let end = item.iter().position(|byte| *byte == b'\n').unwrap_or(item.len());
        let mut line: Vec<u8> = item.drain(..end).collect();
        let space = line.iter().position(|byte| *byte == b' ');
        match (self.below(8), space) {
            (0, _) => {
                let before: &[&[u8]] = &[
                    b"opt ",
                    b"opt\t",
                    b"opt \t ",
                    b"opt opt ",
                    b"opt\r",
                    b" ",
                    b"\t",
                    b"\r",
                    b"\n",
                    b"\x0b",
                    b"\x0c",
                    b"#",
                    b"@",
                    b"Opt ",
                    b"opt#",
                    b"\0",
                    b"-",
                    b".",
                ];
                line.splice(0..0, self.one_of(before).iter().copied());
            }
            (1, _) => {
                let behind: &[&[u8]] = &[
                    b" ", b"\t", b"\r", b" \r", b"#", b" #", b" # x", b"#x", b"# x", b" x", b" x#", b"\x0b", b"\x0c",
                    b"\0", b" x y", b"\\", b" @x", b" ##", b"##", b"\xa0",
                ];
                line.extend_from_slice(self.one_of(behind));
            }
            (2, _) => {
                // The keyword.
                let end = space.unwrap_or(line.len());
                let at = self.below(end);
                match self.below(4) {
                    0 if end > 0 => line[at].make_ascii_uppercase(),
                    1 if end > 0 => drop(line.remove(at)),
                    2 => line.insert(at, b'x'),
                    _ => {
                        let known: &[&[u8]] = &[
                            b"version",
                            b"permanent-key",
                            b"secret-id-part",
                            b"publication-time",
                            b"protocol-versions",
                            b"introduction-points",
                            b"signature",
                            b"rendezvous-service-descriptor",
                            b"opt",
                            b"mood",
                        ];
                        let keyword = self.one_of(known).to_vec();
                        line.splice(..end, keyword);
                    }
                }
            }
            (3, Some(space)) => {
                let between: &[&[u8]] = &[
                    b"  ", b"\t", b" \t ", b"\r", b"\x0b", b"\x0c", b"#", b" #", b"# ", b"", b"\n", b"\r\n", b"\0",
                    b"\xa0",
                ];
                let between = self.one_of(between).to_vec();
                line.splice(space..=space, between);
            }
            (_, Some(space)) => {
                let argument = self.argument(&line[..space], &line[space + 1..]);
                line.splice(space + 1.., argument);
            }
            _ => {
                let at = self.below(line.len());
                let piece = self.piece();
                line.splice(at..at, piece);
            }
        }
        self.did(format!("line {:?}", line.escape_ascii().to_string()));
        item.splice(0..0, line);
    }

    /// Another argument for a keyword.
    fn argument(&mut self, keyword: &[u8], argument: &[u8]) -> Vec<u8> {
        let numbers: &[&str] = &[
            "2",
            "02",
            "+2",
            "-2",
            "+-2",
            "2x",
            "0x2",
            "2.0",
            "2,",
            "3",
            "1",
            "0",
            "-0",
            "4294967298",
            "2147483647",
            "2147483648",
            "9223372036854775810",
            "18446744073709551618",
            "  2",
            "\x0b2",
            "\x0c2",
            "\x0b\x0c+2",
            "2\x0b",
            "2e0",
            "00000000000000000000000000000000000000000002",
            "\u{662}",
            "2\0",
            "\r2",
        ];
        let versions: &[&str] = &[
            "2,3",
            "2",
            "3,2",
            "0",
            "31",
            "32",
            "2147483647",
            "2147483648",
            "-1",
            "x",
            "2,,3",
            ",",
            "2,3,",
            "+2",
            "02",
            "2 3",
            "2, 3",
            "2\x0b,3",
            "2,\x0b3",
            "\"2\"",
            "2;3",
            "",
            "2,3#",
            "2,3 #",
            "\0",
            "\u{20ac}",
        ];
        let addresses: &[&str] = &[
            "127.0.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "1.2.3.256",
            "1.2.3",
            "127.1",
            "01.2.3.4",
            "1.2.3.00",
            "1.2.3.4.5",
            "1.2.3.4.",
            "1..3.4",
            ".1.2.3.4",
            "::1",
            "[::1]",
            "::ffff:1.2.3.4",
            "[1.2.3.4]",
            "localhost",
            "1.2.3.4:80",
            "0x7f.0.0.1",
            "1.2.3.-4",
            "1.2.3.+4",
            "1.2.3.4x",
            "1.2.3.4/32",
            "\x0b1.2.3.4",
            "1.2.3.4\x0b",
            "2130706433",
            "",
            "1.2.3.0004",
            "1.2.3.4%eth0",
        ];
        let ports: &[&str] = &[
            "1",
            "0",
            "00",
            "65535",
            "65536",
            "080",
            "+80",
            "-80",
            "-1",
            "80x",
            "0x50",
            "\x0b80",
            "\x0c80",
            "80\x0b",
            "4294967376",
            "99999999999999999999",
            "80.0",
            "",
            "80,81",
            "65537",
            "131073",
        ];
        match keyword {
            b"ip-address" => self.pick(addresses).as_bytes().to_vec(),
            b"onion-port" => self.pick(ports).as_bytes().to_vec(),
            b"version" => self.pick(numbers).as_bytes().to_vec(),
            b"protocol-versions" => self.pick(versions).as_bytes().to_vec(),
            b"publication-time" => self.time().into_bytes(),
            _ => {
                let mut argument = argument.to_vec();
                let at = self.below(argument.len());
                match self.below(7) {
                    0 => argument.make_ascii_uppercase(),
                    1 if !argument.is_empty() => argument[at].make_ascii_uppercase(),
                    2 if !argument.is_empty() => argument[at] = *self.pick(b"abcxyz234567"),
                    3 if !argument.is_empty() => argument[at] = *self.pick(b"01890=-#\0\x80"),
                    4 => argument.truncate(at),
                    5 => argument.push(*self.pick(b"a2=1")),
                    _ => argument = self.secret_id_part().into_bytes(),
                }
                argument
            }
        }
    }

    /// A time, in its usual form or another.
    fn time(&mut self) -> String {
        let year = *self.pick(&[
            "2026",
            "2026",
            "2000",
            "2004",
            "2100",
            "2300",
            "1970",
            "1969",
            "9999",
            "10000",
            "02026",
            "2147483646",
            "2147483647",
            "4294967295",
            "4294967296",
            "4294969322",
            "18446744073709551615",
            "",
            "+2026",
            "26",
        ]);
        let mut two = |usual: &[u32], numbers: std::ops::Range<u32>| {
            let number = match self.rng.random_ratio(3, 4) {
                true => *usual.choose(&mut self.rng).unwrap(),
                false => self.rng.random_range(numbers),
            };
            match self.rng.random_range(0..12) {
                0 => format!("{number}"),
                1 => format!("{number:03}"),
                2 => format!("{number:2}"),
                _ => format!("{number:02}"),
            }
        };
        let (month, day) = (two(&[1, 2, 2, 11, 12], 0..14), two(&[1, 22, 28, 29, 30, 31], 0..33));
        let (hour, minute, second) = (two(&[0, 12, 23], 0..26), two(&[0, 59], 0..62), two(&[0, 59, 60], 0..63));
        let middle = *self.pick(&[" ", " ", " ", " ", " ", "T", "  ", "\t", "\r", "", "-"]);
        let end = *self.pick(&[
            "", "", "", "", "", "", " ", "\r", "Z", " UTC", "#", " # x", ".5", "\0", "\u{a0}",
        ]);
        format!("{year}-{month}-{day}{middle}{hour}:{minute}:{second}{end}")
    }

    /// Changes the object of an item.
    fn change_object(&mut self, item: &mut Vec<u8>) {
        let begin = support::position(b"-----BEGIN", item);
        let mut object: Vec<u8> = item.drain(begin..).collect();
        self.reshape(&mut object);
        item.extend(object);
    }

    /// Changes how an object is written, and sometimes what it is.
    fn reshape(&mut self, object: &mut Vec<u8>) {
        let body = object
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(object.len(), |end| end + 1);
        let end = (0..object.len())
            .rev()
            .find(|at| object[*at..].starts_with(b"-----END"))
            .unwrap_or(object.len());
        // Where both are on one line.
        let body = body.min(end);
        let kind = self.below(10);
        match kind {
            0 => {
                let before: &[&[u8]] = &[
                    b"\n",
                    b" ",
                    b"\t",
                    b"#c\n",
                    b"x\n",
                    b"\r\n",
                    b"\x0c",
                    b"\0",
                    b"-",
                    b"opt ",
                    b"\n\n # c\n \r",
                ];
                object.splice(0..0, self.one_of(before).iter().copied());
            }
            1 => {
                // Both labels, or one of them.
                let labels: &[&[u8]] = &[
                    b"MESSAGE",
                    b"SIGNATURE",
                    b"RSA PUBLIC KEY",
                    b"RSA PRIVATE KEY",
                    b"X",
                    b"",
                    b" ",
                    b"MESSAGE ",
                    b"-",
                    b"x-----",
                    b"\0",
                    b"message",
                ];
                let label = self.one_of(labels).to_vec();
                let both = self.below(3);
                let label_end = object.iter().skip(11).position(|byte| *byte == b'-');
                let old = label_end.unwrap_or(0);
                if both != 2 && end + 9 + old <= object.len() {
                    object.splice(end + 9..end + 9 + old, label.clone());
                }
                if both != 1 && 11 + old <= object.len() {
                    object.splice(11..11 + old, label);
                }
            }
            2 => {
                // The line that begins it.
                let at = self.below(body);
                self.edit(object, at);
            }
            3 => {
                // The line that ends it.
                let at = end + self.below(object.len() - end);
                self.edit(object, at);
            }
            4 => {
                let before: &[&[u8]] = &[
                    b"=",
                    b"==",
                    b"====",
                    b"=\n?! ",
                    b" ",
                    b"\n",
                    b"A",
                    b"A=",
                    b"-",
                    b"-----END",
                    b"-----END ",
                    b"\0",
                    b"=\0",
                ];
                object.splice(end..end, self.one_of(before).iter().copied());
            }
            5 => {
                // Other lines.
                let mut data: Vec<u8> = object[body..end]
                    .iter()
                    .copied()
                    .filter(|byte| *byte != b'\n')
                    .collect();
                let width = *self.pick(&[1, 3, 63, 64, 65, 76, 4000, 100_000]);
                if self.chance(2) {
                    data.retain(|byte| *byte != b'=');
                }
                let ending: &[u8] = self.one_of(&[&b"\n"[..], b"\r\n", b" \n", b"\n\n", b"\t", b"\x0b", b" "]);
                let lines: Vec<u8> = data.chunks(width).flat_map(|line| [line, ending].concat()).collect();
                object.splice(body..end, lines);
            }
            6 if body + 5 < end => {
                // The last characters.
                let count = 1 + self.below(5);
                match self.chance(2) {
                    true => drop(object.drain(end - 1 - count..end - 1)),
                    false => object[end - 1 - count] = *self.pick(b"ABCDabcd0123+/=-_"),
                }
            }
            7 => {
                // Something else altogether.
                let stock = self.stock;
                *object = self.pick(&stock.objects).clone();
            }
            _ => {
                let at = body + self.below(end.saturating_sub(body));
                self.edit(object, at);
            }
        }
        let shown: String = object.escape_ascii().to_string().chars().take(60).collect();
        self.did(format!("object, way {kind}: {shown}…"));
    }

    /// An edit of a byte or two.
    fn edit(&mut self, text: &mut Vec<u8>, at: usize) {
        if at >= text.len() {
            return;
        }
        match self.below(4) {
            0 => drop(text.remove(at)),
            1 => text[at] ^= 1 << self.below(8),
            _ => {
                let piece = self.piece();
                text.splice(at..at, piece);
            }
        }
    }

    /// A few bytes that mean something somewhere.
    fn piece(&mut self) -> Vec<u8> {
        let pieces: &[&[u8]] = &[
            b" ",
            b"\t",
            b"\r",
            b"\n",
            b"\x0b",
            b"\x0c",
            b"\0",
            b"=",
            b"#",
            b"@",
            b"-",
            b"_",
            b"*",
            b"+",
            b"/",
            b"A",
            b"a",
            b"0",
            b".",
            b"\\",
            b"\x7f",
            b"\x80",
            b"\xff",
            b"\xc2\xa0",
            b"\r\n",
            b"\n\n",
            b"\n ",
            b"opt ",
            b"-----",
            b"-----END ",
            b"-----BEGIN x-----\n",
            b"\n#",
            b" # ",
            b"\nsignature\n",
            b"\nmood\n",
        ];
        self.one_of(pieces).to_vec()
    }

    /// The permanent key in some other DER, or another key.
    fn public_key(&mut self, key: &Key) -> Vec<u8> {
        let two = BigUint::from(2_u8);
        let n = key.private.n().clone();
        let number = match self.below(24) {
            0 => &n / &two,
            1 => &n * &two,
            2 => &n - BigUint::from(1_u8),
            3 => &n + &two,
            4 => BigUint::from(0_u8),
            5 => &n * &n,
            _ => n.clone(),
        };
        let e = key.private.e().clone();
        let exponent = match self.below(24) {
            0 => BigUint::from(3_u8),
            1 => BigUint::from(0_u8),
            2 => BigUint::from(1_u8),
            3 => two,
            4 => &n - BigUint::from(2_u8),
            5 => n.clone(),
            6 => &n * BigUint::from(4_u8) + BigUint::from(1_u8),
            7 => (BigUint::from(1_u8) << 64) + BigUint::from(1_u8),
            8 => (BigUint::from(1_u8) << 65) - BigUint::from(1_u8),
            // The same signatures verify with it.
            9 | 10 => {
                let one = BigUint::from(1_u8);
                let primes = key.private.primes();
                let phi = (&primes[0] - &one) * (&primes[1] - &one);
                let e = &e + phi;
                if e < n { e } else { key.private.e().clone() }
            }
            _ => e,
        };
        let fields = [self.integer(&number), self.integer(&exponent)].concat();
        let extra: &[&[u8]] = match self.chance(16) {
            true => &[b"\0\0", b"\x05\0", b"\x02\x01\x07", b"\0"],
            false => &[b""],
        };
        let fields = [&fields[..], self.one_of(extra)].concat();
        let mut der = match self.below(16) {
            0 => {
                let end = self.one_of(&[b"\0\0", b"\0\0", b"\0\0", b"\0", b"", b"\0\0\0\0", b"\x05\0\0\0"]);
                [b"\x30\x80", &fields[..], end].concat()
            }
            1 => {
                let tags: &[&[u8]] = &[
                    b"\x31",
                    b"\x10",
                    b"\x70",
                    b"\xb0",
                    b"\x24",
                    b"\x02",
                    b"\x3f\x10",
                    b"\x3f\x80\x10",
                    b"\x1f\x10",
                ];
                let tag = self.one_of(tags).to_vec();
                [tag, self.length(fields.len()), fields].concat()
            }
            _ => [b"\x30".to_vec(), self.length(fields.len()), fields].concat(),
        };
        let behind: &[&[u8]] = &[b"", b"", b"", b"", b"", b"\0", b"\0\0", b"more", b"\x30"];
        der.extend_from_slice(self.one_of(behind));
        if self.chance(24) {
            let at = self.below(der.len().min(16));
            self.edit(&mut der, at);
        }
        let shown: String = der.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.did(format!("permanent key of {} bytes: {shown}…", der.len()));
        object("RSA PUBLIC KEY", &der)
    }

    /// A private key whose numbers belong together, or nearly so. An unknown item may have one as
    /// its object, and then Tor checks it.
    fn private_key(&mut self) -> Vec<u8> {
        let stock = self.stock;
        let private = &self.pick(&stock.keys).private;
        let one = BigUint::from(1_u8);
        let mut primes: Vec<BigUint> = private.primes().to_vec();
        let kind = self.below(8);
        match kind {
            0 => primes.swap(0, 1),
            // A prime that is none, with everything else computed as if it were one.
            1 => primes[0] = &stock.small_primes[0] * &stock.small_primes[1],
            2 => primes = stock.small_primes.clone(),
            3 => primes[1] = primes[0].clone(),
            _ => {}
        }
        let e = match self.below(4) {
            0 => BigUint::from(3_u8),
            _ => private.e().clone(),
        };
        let [p, q] = [&primes[0], &primes[1]];
        let (p1, q1) = (p - &one, q - &one);
        let inverse = |number: &BigUint, modulus: &BigUint| {
            let inverse = number.mod_inverse(modulus).and_then(|inverse| inverse.to_biguint());
            inverse.unwrap_or_else(|| one.clone())
        };
        let d = inverse(&e, &(&p1 * &q1));
        let mut numbers = vec![
            BigUint::from(0_u8),
            p * q,
            e.clone(),
            d.clone(),
            p.clone(),
            q.clone(),
            &d % &p1,
            &d % &q1,
            inverse(q, p),
        ];
        let at = self.below(numbers.len());
        let change = self.below(16);
        match change {
            0 => numbers[at] += BigUint::from(1_u8),
            1 => numbers[at] += BigUint::from(2_u8),
            2 => numbers[at] = BigUint::from(0_u8),
            3 => numbers[at] = one.clone(),
            4 => numbers[3] += &p1 * &q1,
            5 => numbers[6] += &p1,
            6 => numbers[8] += p,
            7 => numbers[0] = BigUint::from(*self.pick(&[1_u32, 2, 0x7f, 0xff, 0x100, 0x7fff_ffff, 0x8000_0000])),
            8 => drop(numbers.remove(at)),
            _ => {}
        }
        let mut fields: Vec<u8> = numbers.iter().flat_map(|number| self.integer(number)).collect();
        if self.chance(12) {
            // Further primes, if there are any.
            let further: &[&[u8]] = &[
                b"\x30\0",
                b"\x30\x0b\x30\x09\x02\x01\x03\x02\x01\x01\x02\x01\x01",
                b"\x02\x01\x05",
                b"\x05\0",
            ];
            fields.extend_from_slice(self.one_of(further));
        }
        let der = [b"\x30".to_vec(), self.length(fields.len()), fields].concat();
        self.did(format!("private key, kind {kind}, change {change} at {at}"));
        object("RSA PRIVATE KEY", &der)
    }

    /// An INTEGER, well written or not.
    fn integer(&mut self, number: &BigUint) -> Vec<u8> {
        let mut value = number.to_bytes_be();
        let zeros = match self.below(10) {
            0 => 0,
            1 => 2,
            2 => self.below(8),
            _ => usize::from(value[0] >= 0x80),
        };
        value.splice(0..0, vec![0; zeros]);
        if self.chance(100) {
            value.clear();
        }
        let tags: &[&[u8]] = &[b"\x22", b"\x42", b"\x82", b"\x03", b"\x1f\x02", b"\x1f\x80\x02"];
        let tag = match self.chance(60) {
            true => self.one_of(tags).to_vec(),
            false => vec![2],
        };
        if self.chance(200) {
            return [tag, vec![0x80], value, vec![0, 0]].concat();
        }
        [tag, self.length(value.len()), value].concat()
    }

    /// A length, well written or not, right or nearly so.
    fn length(&mut self, length: usize) -> Vec<u8> {
        let length = match self.below(300) {
            0 => length + 1,
            1 => length.saturating_sub(1),
            2 => length + 0x1_0000_0000,
            _ => length,
        };
        let bytes = length.to_be_bytes();
        let needed = bytes.len() - bytes.iter().take_while(|byte| **byte == 0).count();
        let padding = match self.below(10) {
            0 => 1,
            1 => 3,
            2 => self.below(12),
            3 if self.chance(4) => self.below(120),
            _ => 0,
        };
        if length < 0x80 && padding == 0 {
            return vec![length as u8];
        }
        let count = needed + padding;
        [
            vec![0x80 | count as u8],
            vec![0; padding],
            bytes[bytes.len() - needed..].to_vec(),
        ]
        .concat()
    }

    /// The text with its signature, good or not.
    fn signed(&mut self, text: Vec<u8>, key: &Key) -> Vec<u8> {
        let signed_end = signed_end(&text).unwrap_or(text.len());
        let digest: [u8; 20] = Sha1::digest(&text[..signed_end]).into();
        let signature = match self.below(48) {
            0 => {
                let (before, behind) = (self.below(3), self.below(40));
                self.did(format!("{before} bytes before the digest, {behind} behind it"));
                key.sign(&[&vec![0; before], &digest[..], &vec![7; behind]].concat())
            }
            1 => {
                let length = self.below(21);
                self.did(format!("{length} bytes of the digest"));
                key.sign(&digest[..length])
            }
            2 => {
                self.did("DigestInfo");
                key.sign(
                    &[
                        b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\0\x04\x14",
                        &digest[..],
                    ]
                    .concat(),
                )
            }
            3 => {
                self.did("signed by another key");
                let stock = self.stock;
                self.pick(&stock.keys).sign(&digest)
            }
            4 => {
                let mut signature = key.sign(&digest);
                let at = self.below(signature.len());
                self.edit(&mut signature, at);
                self.did(format!("signature of {} bytes", signature.len()));
                signature
            }
            5 => {
                self.did("a multiple of the modulus more");
                let number = BigUint::from_bytes_be(&key.sign(&digest)) + key.private.n();
                number.to_bytes_be()
            }
            6 => {
                // A block of another form: too few bytes of padding, other bytes, another type.
                let mut block = vec![0xff; 128 - 1 - digest.len()];
                block[0] = 0;
                block[1] = 1;
                let at = self.below(block.len());
                block[at] = *self.pick(&[0, 1, 2, 0xfe, 0xff]);
                block.push(0);
                block.extend(digest);
                self.did(format!("padding with {} at {at}", block[at]));
                let number = BigUint::from_bytes_be(&block);
                let signature = number.modpow(key.private.d(), key.private.n()).to_bytes_be();
                [vec![0; 128 - signature.len()], signature].concat()
            }
            7 => {
                let mut signature = key.sign(&digest);
                let zeros = signature.iter().take_while(|byte| **byte == 0).count();
                signature.drain(..zeros);
                self.did("signature without its zeros");
                signature
            }
            _ => key.sign(&digest),
        };
        let mut object = object("SIGNATURE", &signature);
        if self.chance(8) {
            self.reshape(&mut object);
        }
        let mut signed = Vec::with_capacity(text.len() + 300);
        let mut rest = &text[..];
        while let Some(at) = rest.windows(SIGNATURE.len()).position(|window| window == SIGNATURE) {
            signed.extend_from_slice(&rest[..at]);
            signed.extend_from_slice(&object);
            rest = &rest[at + SIGNATURE.len()..];
        }
        signed.extend_from_slice(rest);
        signed
    }

    /// Puts something behind it all, where no signature reaches.
    fn append(&mut self, text: &mut Vec<u8>) {
        let tails: &[&[u8]] = &[
            b"\n",
            b"\n\n",
            b" \n",
            b"\t\r\n",
            b"#c\n",
            b"# c",
            b"mood\n",
            b"signature\n",
            b"\0",
            b"\0junk\n",
            b"\x0c\n",
            b"@x\n",
            b"opt\n",
            b"opt",
            b"-----BEGIN X-----\n-----END X-----\n",
            b" rendezvous-service-descriptor x\n",
            b"rendezvous-service-descriptor ",
            b"rendezvous-service-descriptor x\n",
            b"rendezvous-service-descriptor\n",
            b"rendezvous-service-descriptors \n",
        ];
        match self.below(4) {
            0 => {
                // As long as descriptors may be, or nearly so.
                let length = LIMIT - 2 + self.below(5);
                self.did(format!("filled up to {length} bytes"));
                let byte = *self.pick(b"\n\n \t");
                text.resize(length.max(text.len()), byte);
                if self.chance(2) {
                    text.extend_from_slice(START);
                }
            }
            1 => {
                self.did("another descriptor behind it");
                let stock = self.stock;
                let other = self.pick(&stock.texts);
                let length = if self.chance(2) {
                    other.len()
                } else {
                    self.below(other.len())
                };
                if self.chance(4) {
                    text.pop();
                }
                text.extend_from_slice(&other[..length]);
            }
            _ => {
                let tail = self.one_of(tails);
                self.did(format!("behind it: {:?}", tail.escape_ascii().to_string()));
                text.extend_from_slice(tail);
            }
        }
    }

    /// Blind damage.
    fn damage(&mut self, text: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(text.len());
            let length = self.below(40).min(text.len() - at);
            match self.below(7) {
                0 => {
                    self.did(format!("bytes {at}..{} gone", at + length));
                    text.drain(at..at + length);
                }
                1 => {
                    self.did(format!("bytes {at}..{} twice", at + length));
                    let copy = text[at..at + length].to_vec();
                    text.splice(at..at, copy);
                }
                2 => {
                    let stock = self.stock;
                    let other = self.pick(&stock.texts);
                    let from = self.below(other.len());
                    let piece = &other[from..other.len().min(from + length)];
                    self.did(format!("a piece of another at {at}"));
                    text.splice(at..at, piece.iter().copied());
                }
                3 if self.chance(4) => {
                    self.did(format!("cut at {at}"));
                    text.truncate(at);
                }
                _ => {
                    self.did(format!("edit at {at}"));
                    self.edit(text, at);
                }
            }
        }
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

/// End of the signed part: it ends with the first line that begins with `signature`, not counting
/// the first line.
fn signed_end(text: &[u8]) -> Option<usize> {
    let needle = b"\nsignature";
    let from = START.len();
    let at = from
        + text
            .get(from..)?
            .windows(needle.len())
            .position(|window| window == needle)?
        + needle.len();
    Some(at + text[at..].iter().position(|byte| *byte == b'\n')? + 1)
}

/// A point, one element for each item.
fn items_of(point: &IntroductionPoint) -> Vec<Vec<u8>> {
    let id = point.base32_identity();
    vec![
        format!("introduction-point {id}\n").into_bytes(),
        format!("ip-address {}\n", point.address()).into_bytes(),
        format!("onion-port {}\n", point.port()).into_bytes(),
        format!("onion-key\n{}", point.onion_key()).into_bytes(),
        format!("service-key\n{}", point.service_key()).into_bytes(),
    ]
}
