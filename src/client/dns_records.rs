//! Whole DNS replies: all sections, and each record in the text form of zone files, as github.com/miekg/dns spells it.
//! Bytes only, no I/O; what [`dns_message`](super::dns_message) says of hostile replies holds here too.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::dns_message::{RECURSION_DESIRED, Reader, encode, open_sections};
use crate::model::{encode_base64, hexadecimal};

/// Names and numbers of record types: IANA's registry of DNS parameters.
const TYPES: &str = "A 1 NS 2 MD 3 MF 4 CNAME 5 SOA 6 MB 7 MG 8 MR 9 NULL 10 PTR 12 HINFO 13 MINFO 14 MX 15 TXT 16 \
    RP 17 AFSDB 18 X25 19 ISDN 20 RT 21 NSAP-PTR 23 SIG 24 KEY 25 PX 26 GPOS 27 AAAA 28 LOC 29 NXT 30 EID 31 NIMLOC 32 \
    SRV 33 ATMA 34 NAPTR 35 KX 36 CERT 37 DNAME 39 OPT 41 APL 42 DS 43 SSHFP 44 IPSECKEY 45 RRSIG 46 NSEC 47 DNSKEY 48 \
    DHCID 49 NSEC3 50 NSEC3PARAM 51 TLSA 52 SMIMEA 53 HIP 55 NINFO 56 RKEY 57 TALINK 58 CDS 59 CDNSKEY 60 OPENPGPKEY 61 \
    CSYNC 62 ZONEMD 63 SVCB 64 HTTPS 65 SPF 99 UINFO 100 UID 101 GID 102 UNSPEC 103 NID 104 L32 105 L64 106 LP 107 \
    EUI48 108 EUI64 109 TKEY 249 TSIG 250 IXFR 251 AXFR 252 MAILB 253 MAILA 254 ANY 255 URI 256 CAA 257 AVC 258 \
    AMTRELAY 260 TA 32768 DLV 32769";
const CLASSES: &str = "IN 1 CS 2 CH 3 HS 4 NONE 254 ANY 255";
const CODES: &str = "NOERROR 0 FORMERR 1 SERVFAIL 2 NXDOMAIN 3 NOTIMP 4 REFUSED 5 YXDOMAIN 6 YXRRSET 7 NXRRSET 8 \
    NOTAUTH 9 NOTZONE 10 DSOTYPENI 11 BADSIG 16 BADVERS 16 BADKEY 17 BADTIME 18 BADMODE 19 BADNAME 20 BADALG 21 \
    BADTRUNC 22 BADCOOKIE 23";

const SOA: u16 = 6;

/// The number of a record type's name.
pub fn type_number(name: &str) -> Option<u16> {
    number_of(TYPES, name)
}

/// The number of a class's name.
pub fn class_number(name: &str) -> Option<u16> {
    number_of(CLASSES, name)
}

/// The number of a response code's name.
pub fn code_number(name: &str) -> Option<u16> {
    number_of(CODES, name)
}

/// The name of a response code.
pub fn code_name(number: u16) -> &'static str {
    name_of(CODES, number).unwrap_or("an unknown code")
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The name; `.` is the root.
    pub name: &'a str,
    /// The record type's number.
    pub record_type: u16,
    /// The class's number.
    pub class: u16,
    /// Whether the server is to ask others.
    pub recursion_desired: bool,
}

/// A query; `None` if the name cannot be written.
pub fn encode_question(id: u16, question: &Question<'_>) -> Option<Vec<u8>> {
    let flags = if question.recursion_desired { RECURSION_DESIRED } else { 0 };
    let name = question.name.strip_suffix('.').unwrap_or(question.name);
    encode(id, flags, name, &[question.record_type], question.class)
}

/// A reply that was understood as a whole.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The response code.
    pub code: u16,
    /// The answers.
    pub answers: Vec<Record<'a>>,
    /// Who is responsible.
    pub authority: Vec<Record<'a>>,
    /// What else may be of use.
    pub additional: Vec<Record<'a>>,
}

/// One record.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    message: &'a [u8],
    name_at: usize,
    record_type: u16,
    class: u16,
    ttl: u32,
    start: usize,
    end: usize,
}

/// Reads a reply to the query with this id. `None` if it is none, or a part of it is not valid.
pub fn parse_message(bytes: &[u8], id: u16) -> Option<Message<'_>> {
    let (flags, counts, mut reader) = open_sections(bytes, id)?;
    let mut section = |count: u16| {
        let mut records = Vec::new();
        // A message may end before the number of records that it announces, but not within one.
        while records.len() < usize::from(count) && reader.at < bytes.len() {
            let record = read_record(&mut reader)?;
            record.text()?;
            records.push(record);
        }
        Some(records)
    };
    let [answers, authority, additional] = counts;
    Some(Message {
        code: flags & 0xf,
        answers: section(answers)?,
        authority: section(authority)?,
        additional: section(additional)?,
    })
}

fn read_record<'a>(reader: &mut Reader<'a>) -> Option<Record<'a>> {
    let name_at = reader.at;
    reader.labels(&mut |_| Some(()))?;
    let (record_type, class) = (reader.word()?, reader.word()?);
    let ttl = long(reader)?;
    let len = usize::from(reader.word()?);
    let start = reader.at;
    reader.skip(len)?;
    Some(Record { message: reader.message, name_at, record_type, class, ttl, start, end: reader.at })
}

impl Record<'_> {
    /// The record as a line of a zone file; `None` if what it holds is not valid.
    pub fn text(&self) -> Option<String> {
        let mut text = String::new();
        push_name(&mut text, &mut self.reader_at(self.name_at))?;
        let class = name_of(CLASSES, self.class).map_or_else(|| format!("CLASS{}", self.class), str::to_owned);
        let record_type = name_of(TYPES, self.record_type);
        let record_type = record_type.map_or_else(|| format!("TYPE{}", self.record_type), str::to_owned);
        write!(text, "\t{}\t{class}\t{record_type}\t", self.ttl).expect("writing to memory does not fail");
        self.push_data(&mut text)?;
        Some(text)
    }

    /// The serial number of a zone, if this is its SOA record.
    pub fn zone_serial(&self) -> Option<u32> {
        if self.record_type != SOA {
            return None;
        }
        let mut reader = self.data_reader();
        reader.labels(&mut |_| Some(()))?;
        reader.labels(&mut |_| Some(()))?;
        long(&mut reader)
    }

    fn reader_at(&self, at: usize) -> Reader<'_> {
        Reader::at(self.message, at)
    }

    /// Names in the data may point to anything before them; nothing may be read behind the data's end.
    fn data_reader(&self) -> Reader<'_> {
        Reader::at(&self.message[..self.end], self.start)
    }

    fn push_data(&self, text: &mut String) -> Option<()> {
        let mut reader = self.data_reader();
        let data = &self.message[self.start..self.end];
        match self.record_type {
            1 => push(text, &Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?)),
            28 => push(text, &Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?)),
            // NS, CNAME, PTR, DNAME and the old ones that are a name too.
            2 | 3 | 4 | 5 | 7 | 8 | 9 | 12 | 39 => push_name(text, &mut reader)?,
            // MX, AFSDB, RT, KX
            15 | 18 | 21 | 36 => {
                push_words(text, &mut reader, 1)?;
                push_name(text, &mut reader)?;
            }
            SOA => {
                push_name(text, &mut reader)?;
                text.push(' ');
                push_name(text, &mut reader)?;
                for _ in 0..5 {
                    write!(text, " {}", long(&mut reader)?).ok()?;
                }
            }
            // HINFO, TXT, SPF
            13 | 16 | 99 => push_strings(text, data)?,
            33 => {
                push_words(text, &mut reader, 3)?;
                push_name(text, &mut reader)?;
            }
            // DS and CDS
            43 | 59 => push_numbers_and(text, data, true, &|digest| hexadecimal(digest).to_uppercase())?,
            44 => {
                let (numbers, fingerprint) = data.split_at_checked(2)?;
                write!(text, "{} {} {}", numbers[0], numbers[1], hexadecimal(fingerprint).to_uppercase()).ok()?;
            }
            // DNSKEY and CDNSKEY
            48 | 60 => push_numbers_and(text, data, true, &encode_base64)?,
            // TLSA and SMIMEA
            52 | 53 => push_numbers_and(text, data, false, &hexadecimal)?,
            257 => {
                let (head, rest) = data.split_at_checked(2)?;
                let (tag, value) = rest.split_at_checked(usize::from(head[1]))?;
                write!(text, "{} {} ", head[0], String::from_utf8_lossy(tag)).ok()?;
                push_quoted(text, value);
            }
            _ => write!(text, "\\# {} {}", data.len(), hexadecimal(data).to_uppercase()).ok()?,
        }
        Some(())
    }
}

fn number_of(table: &str, name: &str) -> Option<u16> {
    let mut words = table.split(' ').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let number = words.next()?;
        if word == name {
            return number.parse().ok();
        }
    }
    None
}

fn name_of(table: &'static str, number: u16) -> Option<&'static str> {
    let mut words = table.split(' ').filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        if words.next()?.parse() == Ok(number) {
            return Some(word);
        }
    }
    None
}

fn long(reader: &mut Reader<'_>) -> Option<u32> {
    Some(u32::from(reader.word()?) << 16 | u32::from(reader.word()?))
}

fn push(text: &mut String, value: &dyn std::fmt::Display) {
    write!(text, "{value}").expect("writing to memory does not fail");
}

/// Each number with a space behind it.
fn push_words(text: &mut String, reader: &mut Reader<'_>, count: usize) -> Option<()> {
    for _ in 0..count {
        push(text, &reader.word()?);
        text.push(' ');
    }
    Some(())
}

/// Three numbers, of which the first may have two bytes, and the rest in some encoding.
fn push_numbers_and(
    text: &mut String,
    data: &[u8],
    first_is_word: bool,
    encode: &dyn Fn(&[u8]) -> String,
) -> Option<()> {
    let (first, rest) = data.split_at_checked(if first_is_word { 2 } else { 1 })?;
    let first = first.iter().fold(0_u16, |number, byte| number << 8 | u16::from(*byte));
    let (numbers, rest) = rest.split_at_checked(2)?;
    write!(text, "{first} {} {} {}", numbers[0], numbers[1], encode(rest)).ok()
}

fn push_name(text: &mut String, reader: &mut Reader<'_>) -> Option<()> {
    let before = text.len();
    reader.labels(&mut |label| {
        for &byte in label {
            match byte {
                b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                    text.extend(['\\', char::from(byte)]);
                }
                _ => push_byte(text, byte),
            }
        }
        text.push('.');
        Some(())
    })?;
    if text.len() == before {
        text.push('.');
    }
    Some(())
}

fn push_byte(text: &mut String, byte: u8) {
    match byte {
        b' '..=b'~' => text.push(char::from(byte)),
        _ => write!(text, "\\{byte:03}").expect("writing to memory does not fail"),
    }
}

/// Strings with their lengths in front, each in quotes.
fn push_strings(text: &mut String, mut data: &[u8]) -> Option<()> {
    let mut before = "";
    while let Some((&len, rest)) = data.split_first() {
        let (content, rest) = rest.split_at_checked(len.into())?;
        text.push_str(before);
        push_quoted(text, content);
        (before, data) = (" ", rest);
    }
    Some(())
}

fn push_quoted(text: &mut String, content: &[u8]) {
    text.push('"');
    for &byte in content {
        if matches!(byte, b'"' | b'\\') {
            text.push('\\');
        }
        push_byte(text, byte);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Question<'_> = Question { name: ".", record_type: 2, class: 1, recursion_desired: true };

    /// A reply with these records in its sections; names are pointers to the question's.
    fn reply(name: &str, sections: [&[(u16, &[u8])]; 3]) -> Vec<u8> {
        let mut message = encode_question(7, &Question { name, ..ROOT }).expect("a valid name");
        message[2..4].copy_from_slice(&0x8183_u16.to_be_bytes());
        for (index, records) in sections.iter().enumerate() {
            message[7 + 2 * index] = records.len() as u8;
            for (code, data) in *records {
                message.extend_from_slice(&[0xc0, 12]);
                message.extend_from_slice(&code.to_be_bytes());
                message.extend_from_slice(&[0, 1, 0, 0, 1, 44]);
                message.extend_from_slice(&(data.len() as u16).to_be_bytes());
                message.extend_from_slice(data);
            }
        }
        message
    }

    #[test]
    fn records_in_text() {
        let soa = [&[2, b'n', b's', 0xc0, 12, 0][..], &[0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2], &[0, 0, 0, 3, 0, 0, 0, 4]];
        let soa = soa.concat();
        let cases: [(u16, &[u8], &str); 16] = [
            (1, &[10, 0, 0, 1], "A\t10.0.0.1"),
            (28, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], "AAAA\t::1"),
            (2, &[2, b'n', b's', 0xc0, 12], "NS\tns.a.lan."),
            (5, &[0], "CNAME\t."),
            (12, &[3, b'a', b'.', 0, 0], "PTR\ta\\.\\000."),
            (15, &[0, 10, 0xc0, 12], "MX\t10 a.lan."),
            (16, b"\x03a\"b\x02\\\xff", "TXT\t\"a\\\"b\" \"\\\\\\255\""),
            (6, &soa, "SOA\tns.a.lan. . 9 1 2 3 4"),
            (33, &[0, 1, 0, 2, 0, 80, 0xc0, 12], "SRV\t1 2 80 a.lan."),
            (43, &[0, 9, 8, 2, 0xab], "DS\t9 8 2 AB"),
            (44, &[4, 2, 0xab], "SSHFP\t4 2 AB"),
            (48, &[1, 1, 3, 13, 0, 0, 0], "DNSKEY\t257 3 13 AAAA"),
            (52, &[3, 1, 1, 0xab], "TLSA\t3 1 1 ab"),
            (257, b"\x00\x05issuelan", "CAA\t0 issue \"lan\""),
            (46, &[1, 0xab], "RRSIG\t\\# 2 01AB"),
            (300, &[], "TYPE300\t\\# 0 "),
        ];
        for (code, data, expected) in cases {
            let bytes = reply("a.lan.", [&[(code, data)], &[], &[]]);
            let message = parse_message(&bytes, 7).unwrap_or_else(|| panic!("{expected}"));
            assert_eq!(message.answers[0].text().as_deref(), Some(format!("a.lan.\t300\tIN\t{expected}").as_str()));
            assert_eq!(message.answers[0].zone_serial(), (code == SOA).then_some(9));
        }
    }

    #[test]
    fn sections_are_told_apart() {
        let address: (u16, &[u8]) = (1, &[10, 0, 0, 1]);
        let bytes = reply(".", [&[address; 3], &[address; 2], &[address]]);
        let message = parse_message(&bytes, 7).expect("a reply");
        let sizes = (message.answers.len(), message.authority.len(), message.additional.len());
        assert_eq!((message.code, sizes), (3, (3, 2, 1)));
        assert_eq!(message.answers[0].text().as_deref(), Some(".\t300\tIN\tA\t10.0.0.1"));
        assert!(parse_message(&bytes, 8).is_none(), "another id");
        assert!(parse_message(&bytes[..bytes.len() - 16], 7).is_some_and(|message| message.additional.is_empty()));
        assert!(parse_message(&reply(".", [&[(1, &[1])], &[], &[]]), 7).is_none(), "an address of one byte");
    }

    #[test]
    fn names_and_numbers() {
        assert_eq!((type_number("AAAA"), type_number("aaaa"), class_number("CH")), (Some(28), None, Some(3)));
        assert_eq!((code_number("NXDOMAIN"), code_name(5), code_name(15)), (Some(3), "REFUSED", "an unknown code"));
        assert_eq!(encode_question(1, &Question { name: "a..b", ..ROOT }), None);
    }

    #[test]
    fn hostile_bytes_end() {
        let service: (u16, &[u8]) = (33, &[0, 1, 0, 2, 0, 80, 0xc0, 12]);
        let whole = reply("a.lan", [&[service, (16, b"\x02ab")], &[(6, &[0xc0, 12, 0, 0])], &[(257, &[0, 9])]]);
        for end in 0..whole.len() {
            let _ = parse_message(&whole[..end], 7);
            for value in [0, 0xc0, 0xff, 63] {
                let mut changed = whole.clone();
                changed[end] = value;
                let _ = parse_message(&changed, 7);
            }
        }
    }
}
