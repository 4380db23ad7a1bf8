//! DNS messages (RFC 1035, 2782, 3596): one question out, the answers of a reply in. Bytes only, no I/O.
//!
//! Replies come from the network: every length is checked, a name's compression pointers may only point backwards,
//! and the number of records that are looked at is bounded by the message's size.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The longest name in its text form.
const NAME_BYTES_MAX: usize = 253;
/// Pointers of one name that are followed: a name has no more labels. Backwards alone they would end too, but a message
/// can hold thousands of them, and thousands of names that follow all of them.
const JUMPS_MAX: usize = 127;
const CLASS_IN: u16 = 1;
/// In a multicast question: please answer to my address alone (RFC 6762, section 5.4).
const UNICAST_RESPONSE: u16 = 0x8000;
const HEADER_BYTES: usize = 12;
/// The flag of a query that the server is to ask others.
pub(super) const RECURSION_DESIRED: u16 = 0x0100;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the record types")]
pub enum RecordType {
    A,
    Aaaa,
    Srv,
    Mx,
    Ns,
}

impl RecordType {
    fn code(self) -> u16 {
        match self {
            Self::A => 1,
            Self::Ns => 2,
            Self::Mx => 15,
            Self::Aaaa => 28,
            Self::Srv => 33,
        }
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An A or AAAA record.
    Address(IpAddr),
    /// An SRV record.
    Service {
        /// The host, without the final dot.
        target: String,
        /// Its port.
        port: u16,
    },
    /// An MX record's host, without the final dot.
    MailExchange(String),
    /// An NS record's host, without the final dot.
    NameServer(String),
}

/// A reply that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 0: fine, 3: no such name, others: the server failed.
    pub code: u8,
    /// It did not fit: ask again over TCP.
    pub truncated: bool,
    /// The answers of the type that was asked for, in the order of the reply.
    pub records: Vec<Record>,
}

/// A query for one name; `None` if the name cannot be written.
pub fn encode_query(id: u16, name: &str, record_type: RecordType) -> Option<Vec<u8>> {
    encode(id, RECURSION_DESIRED, host_name(name)?, &[record_type.code()], CLASS_IN)
}

/// A one-shot multicast query for the addresses of a name (RFC 6762, section 5.1).
pub fn encode_multicast_query(name: &str) -> Option<Vec<u8>> {
    encode(0, 0, host_name(name)?, &[RecordType::A.code(), RecordType::Aaaa.code()], CLASS_IN | UNICAST_RESPONSE)
}

/// Reads a reply to the query with this id. `None` if it is none, or not valid.
pub fn parse_reply(message: &[u8], id: u16, record_type: RecordType) -> Option<Reply> {
    let (flags, mut reader) = open_reply(message, id)?;
    let mut records = Vec::new();
    for _ in 0..reader.answers {
        let Some(answer) = reader.record() else { break };
        if answer.code == record_type.code() && answer.class == CLASS_IN {
            records.extend(reader.decode(&answer));
        }
    }
    Some(Reply { code: (flags & 0xf) as u8, truncated: flags & 0x0200 != 0, records })
}

/// The addresses that a multicast reply gives for `name`.
pub fn parse_multicast_reply(message: &[u8], name: &str) -> Vec<IpAddr> {
    let Some((_, mut reader)) = open_reply(message, 0) else { return Vec::new() };
    let mut addresses = Vec::new();
    for _ in 0..reader.answers {
        let Some(answer) = reader.record() else { break };
        if !answer.name.eq_ignore_ascii_case(name.trim_end_matches('.')) {
            continue;
        }
        if let Some(Record::Address(address)) = reader.decode(&answer) {
            addresses.push(address);
        }
    }
    addresses
}

fn host_name(name: &str) -> Option<&str> {
    Some(name.trim_end_matches('.')).filter(|name| !name.is_empty())
}

/// Puts a query together; the empty name is the root.
pub(super) fn encode(id: u16, flags: u16, name: &str, types: &[u16], class: u16) -> Option<Vec<u8>> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut message = Vec::with_capacity(HEADER_BYTES + types.len() * (name.len() + 6));
    for word in [id, flags, types.len() as u16, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    for code in types {
        for label in name.split('.').filter(|_| !name.is_empty()) {
            let len = u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len))?;
            message.push(len);
            message.extend_from_slice(label.as_bytes());
        }
        message.push(0);
        message.extend_from_slice(&code.to_be_bytes());
        message.extend_from_slice(&class.to_be_bytes());
    }
    Some(message)
}

/// The flags, and a reader that stands behind the questions.
fn open_reply(message: &[u8], id: u16) -> Option<(u16, Reader<'_>)> {
    let (flags, [answers, ..], mut reader) = open_sections(message, id)?;
    reader.answers = answers;
    Some((flags, reader))
}

/// The flags, how many records answers, authority and additional section announce, and a reader that stands behind the
/// questions.
pub(super) fn open_sections(message: &[u8], id: u16) -> Option<(u16, [u16; 3], Reader<'_>)> {
    const RESPONSE: u16 = 0x8000;
    let mut reader = Reader::at(message, 0);
    let (found_id, flags) = (reader.word()?, reader.word()?);
    let questions = reader.word()?;
    let sections = [reader.word()?, reader.word()?, reader.word()?];
    if found_id != id || flags & RESPONSE == 0 {
        return None;
    }
    for _ in 0..questions {
        reader.name()?;
        reader.skip(4)?;
    }
    Some((flags, sections, reader))
}

/// Steps through a message.
pub(super) struct Reader<'a> {
    pub(super) message: &'a [u8],
    pub(super) at: usize,
    answers: u16,
}

struct Answer {
    name: String,
    code: u16,
    class: u16,
    start: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Starts at a byte of a message.
    pub(super) fn at(message: &'a [u8], at: usize) -> Self {
        Self { message, at, answers: 0 }
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|end| *end <= self.message.len())?;
        Some(())
    }

    /// The next two bytes as a number.
    pub(super) fn word(&mut self) -> Option<u16> {
        let bytes = self.message.get(self.at..self.at + 2)?;
        self.at += 2;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn record(&mut self) -> Option<Answer> {
        const CACHE_FLUSH: u16 = 0x8000;
        let name = self.name()?;
        let code = self.word()?;
        let class = self.word()? & !CACHE_FLUSH;
        self.skip(4)?;
        let len = usize::from(self.word()?);
        let start = self.at;
        self.skip(len)?;
        Some(Answer { name, code, class, start, end: self.at })
    }

    fn decode(&self, answer: &Answer) -> Option<Record> {
        let data = &self.message[answer.start..answer.end];
        let name_at = |offset: usize| Reader::at(self.message, answer.start + offset).name();
        match answer.code {
            1 => <[u8; 4]>::try_from(data).ok().map(|octets| Record::Address(Ipv4Addr::from(octets).into())),
            28 => <[u8; 16]>::try_from(data).ok().map(|octets| Record::Address(Ipv6Addr::from(octets).into())),
            2 => name_at(0).map(Record::NameServer),
            15 => name_at(2).map(Record::MailExchange),
            33 if data.len() > 6 => {
                let port = u16::from_be_bytes([data[4], data[5]]);
                name_at(6).map(|target| Record::Service { target, port })
            }
            _ => None,
        }
    }

    /// A name in text form, without the final dot; leaves the reader behind it.
    fn name(&mut self) -> Option<String> {
        let mut name = String::new();
        self.labels(&mut |label| {
            if !name.is_empty() {
                name.push('.');
            }
            name.push_str(std::str::from_utf8(label).ok()?);
            Some(())
        })?;
        Some(name)
    }

    /// Gives a name's labels one by one; leaves the reader behind it.
    pub(super) fn labels(&mut self, give: &mut dyn FnMut(&[u8]) -> Option<()>) -> Option<()> {
        let mut at = self.at;
        let mut limit = self.message.len();
        let mut jumps = 0;
        let mut total = 0;
        loop {
            let len = usize::from(*self.message.get(at).filter(|_| at < limit)?);
            if len & 0xc0 == 0xc0 {
                let target = (len & 0x3f) << 8 | usize::from(*self.message.get(at + 1)?);
                // Only backwards: this is what ends every chain of pointers.
                if target >= at || target >= limit {
                    return None;
                }
                self.at = if jumps > 0 { self.at } else { at + 2 };
                jumps += 1;
                if jumps > JUMPS_MAX {
                    return None;
                }
                (limit, at) = (at, target);
                continue;
            }
            if len == 0 {
                self.at = if jumps > 0 { self.at } else { at + 1 };
                return Some(());
            }
            let label = self.message.get(at + 1..at + 1 + len).filter(|_| len < 64)?;
            total += len + 1;
            if total > NAME_BYTES_MAX + 1 {
                return None;
            }
            give(label)?;
            at += 1 + len;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_pointers_are_cut() {
        // A header, the root at 12, then pointers that each lead to the one before.
        let chain = |len: usize| {
            let mut message = vec![0; 13];
            let mut target = 12_u16;
            for _ in 0..len {
                let at = message.len() as u16;
                message.extend_from_slice(&(0xc000 | target).to_be_bytes());
                target = at;
            }
            message
        };
        for (len, is_read) in [(1, true), (JUMPS_MAX, true), (JUMPS_MAX + 1, false)] {
            let message = chain(len);
            let mut reader = Reader { message: &message, at: message.len() - 2, answers: 0 };
            assert_eq!(reader.labels(&mut |_| Some(())).is_some(), is_read, "{len}");
        }
    }

    fn reply(id: u16, question: &str, answers: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = encode_query(id, question, RecordType::A).expect("a valid name");
        message[2..4].copy_from_slice(&0x8180_u16.to_be_bytes());
        message[6..8].copy_from_slice(&(answers.len() as u16).to_be_bytes());
        for (code, data) in answers {
            // The name is a pointer to the question's.
            message.extend_from_slice(&[0xc0, 12]);
            message.extend_from_slice(&code.to_be_bytes());
            message.extend_from_slice(&[0, 1, 0, 0, 0, 60]);
            message.extend_from_slice(&(data.len() as u16).to_be_bytes());
            message.extend_from_slice(data);
        }
        message
    }

    #[test]
    fn reads_each_type() {
        let service = [&[0, 1, 0, 2, 0x1f, 0x90][..], &[4], b"node", &[0xc0, 12]].concat();
        let cases: [(u16, &[u8], RecordType, Record); 5] = [
            (1, &[10, 0, 0, 1], RecordType::A, Record::Address("10.0.0.1".parse().expect("valid"))),
            (28, &[0; 16], RecordType::Aaaa, Record::Address("::".parse().expect("valid"))),
            (33, &service, RecordType::Srv, Record::Service { target: "node.a.lan".to_owned(), port: 8080 }),
            (15, &[0, 10, 0xc0, 12], RecordType::Mx, Record::MailExchange("a.lan".to_owned())),
            (2, &[2, b'n', b's', 0xc0, 12], RecordType::Ns, Record::NameServer("ns.a.lan".to_owned())),
        ];
        for (code, data, record_type, expected) in cases {
            let message = reply(7, "a.lan.", &[(5, &[0xc0, 12]), (code, data)]);
            let parsed = parse_reply(&message, 7, record_type).expect("a valid reply");
            assert_eq!(parsed.records, [expected], "{record_type:?}");
            assert_eq!(parse_reply(&message, 8, record_type), None, "another id");
        }
    }

    #[test]
    fn hostile_bytes_end() {
        let whole = reply(7, "a.lan", &[(1, &[10, 0, 0, 1]), (33, &[0, 1, 0, 2, 0, 80, 0xc0, 12])]);
        for end in 0..whole.len() {
            let _ = parse_reply(&whole[..end], 7, RecordType::Srv);
            for value in [0, 0xc0, 0xff, 63] {
                let mut changed = whole.clone();
                changed[end] = value;
                let _ = parse_reply(&changed, 7, RecordType::Srv);
                let _ = parse_multicast_reply(&changed, "a.lan");
            }
        }
        // A name that points at itself.
        let looped = reply(7, "a.lan", &[(2, &[0xc0, 35])]);
        assert_eq!(parse_reply(&looped, 7, RecordType::Ns).expect("a reply").records, []);
    }

    #[test]
    fn names_that_cannot_be_asked() {
        for name in ["", ".", "a..b", &"x".repeat(64), &"x.".repeat(200)] {
            assert_eq!(encode_query(1, name, RecordType::A), None, "{name}");
        }
    }
}
