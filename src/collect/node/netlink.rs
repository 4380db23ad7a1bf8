//! Generic netlink: questions to a family of the kernel, and its answers as attributes.
//!
//! Sources: Documentation/userspace-api/netlink/intro.rst and include/uapi/linux/{netlink,genetlink}.h of the kernel.
//! Blocking; the wait for each part of an answer has a limit of time, and the whole one of bytes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with};

/// How long a part of an answer is waited for. The kernel makes each when the one before is read, out of what it has or
/// what a driver tells it; how long all of them take together is bounded by their bytes alone.
const PATIENCE: Duration = Duration::from_secs(5);
/// The kernel fills at most 32 KiB at a time.
const PART_BYTES_MAX: usize = 64 << 10;
/// What all parts of an answer together may have.
const ANSWER_BYTES_MAX: usize = 4 << 20;

const HEADER_BYTES: usize = 16;
const FAMILY_HEADER_BYTES: usize = 4;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 0x1;
const MULTI: u16 = 0x2;
const DUMP: u16 = 0x300;
/// Without the flags of nesting and byte order.
const ATTRIBUTE_TYPE_MASK: u16 = 0x3fff;

/// The family that knows the others.
const CONTROL: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;

/// A socket towards the kernel.
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    answer_bytes_max: usize,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: open_socket()?, sequence: 0, answer_bytes_max: ANSWER_BYTES_MAX })
    }

    /// The number of a family; an error of the kind `NotFound` where the kernel has none of that name.
    pub(super) fn family(&mut self, name: &str) -> io::Result<u16> {
        let name = [name.as_bytes(), &[0]].concat();
        let answers = self.ask(CONTROL, GET_FAMILY, false, &[(FAMILY_NAME, &name)])?;
        let id = answers.iter().flat_map(|answer| attributes(answer)).find(|(kind, _)| *kind == FAMILY_ID);
        let id = id.and_then(|(_, bytes)| Some(u16::from_ne_bytes(bytes.try_into().ok()?)));
        id.ok_or_else(|| malformed("a family without a number"))
    }

    /// The attributes of each message of an answer; `is_dump` asks for all things of a kind.
    pub(super) fn ask(
        &mut self,
        family: u16,
        command: u8,
        is_dump: bool,
        attributes: &[(u16, &[u8])],
    ) -> io::Result<Vec<Vec<u8>>> {
        self.sequence += 1;
        let flags = if is_dump { REQUEST | DUMP } else { REQUEST };
        let answer = self.exchange(&encode(family, flags, self.sequence, command, attributes));
        if answer.is_err() {
            // The rest of an answer that is given up stays with its socket, and the next question would find it busy.
            self.socket = open_socket()?;
        }
        answer
    }

    fn exchange(&self, question: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        send(&self.socket, question, SendFlags::empty())?;
        let mut answer = Answer::default();
        let mut part = vec![0; PART_BYTES_MAX];
        let mut bytes = 0;
        while !answer.is_whole {
            let len = match recv(&self.socket, part.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((_, len)) => len,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return Err(io::ErrorKind::TimedOut.into()),
                Err(error) => return Err(error.into()),
            };
            bytes += len;
            let part = part.get(..len).filter(|_| bytes <= self.answer_bytes_max);
            answer.read(part.ok_or_else(|| malformed("too long an answer"))?, self.sequence)?;
        }
        Ok(answer.messages)
    }
}

fn open_socket() -> io::Result<OwnedFd> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::GENERIC))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    Ok(socket)
}

/// An answer that comes in parts.
#[derive(Default)]
pub(super) struct Answer {
    /// The attributes of each message.
    pub(super) messages: Vec<Vec<u8>>,
    is_whole: bool,
}

impl Answer {
    /// Reads one part. Messages for another question are passed over.
    pub(super) fn read(&mut self, mut part: &[u8], sequence: u32) -> io::Result<()> {
        while let Some(header) = part.first_chunk::<HEADER_BYTES>() {
            let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, ..] = *header;
            let len = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
            let body = part.get(HEADER_BYTES..len).ok_or_else(|| malformed("a message that is cut"))?;
            let kind = u16::from_ne_bytes([k0, k1]);
            let is_part = u16::from_ne_bytes([f0, f1]) & MULTI != 0;
            if u32::from_ne_bytes([s0, s1, s2, s3]) == sequence {
                match kind {
                    // What ends a dump says how it went, too.
                    ERROR | DONE => {
                        let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                        self.is_whole = true;
                        if code < 0 {
                            return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                        }
                    }
                    _ => {
                        let attributes = body.get(FAMILY_HEADER_BYTES..);
                        self.messages.push(attributes.ok_or_else(|| malformed("a message without a header"))?.to_vec());
                        self.is_whole |= !is_part;
                    }
                }
            }
            part = part.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }
}

/// The attributes in a message, or in one of them; what is cut ends them.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let [l0, l1, k0, k1] = *bytes.first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([l0, l1]));
        let value = bytes.get(4..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([k0, k1]) & ATTRIBUTE_TYPE_MASK, value))
    })
}

/// One attribute, padded.
pub(super) fn push_attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&(value.len() as u16 + 4).to_ne_bytes());
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().next_multiple_of(4), 0);
}

/// A message; its port is that of the socket.
pub(super) fn encode(kind: u16, flags: u16, sequence: u32, command: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
    let mut body = vec![command, 1, 0, 0];
    for (kind, value) in attributes {
        push_attribute(&mut body, *kind, value);
    }
    let mut message = ((HEADER_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&sequence.to_ne_bytes());
    message.extend_from_slice(&[0; 4]);
    message.extend_from_slice(&body);
    message
}

fn malformed(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        let mut kernel = Netlink::open().expect("a socket");
        assert_eq!(kernel.family("nlctrl").expect("it knows itself"), CONTROL);
        let missing = kernel.family("no-such-family").expect_err("nobody has it");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound, "{missing}");
        let all = kernel.ask(CONTROL, GET_FAMILY, true, &[]).expect("a dump");
        let name_of =
            |message: &[u8]| attributes(message).find(|(kind, _)| *kind == FAMILY_NAME).map(|it| it.1.to_vec());
        assert!(all.iter().filter_map(|message| name_of(message)).any(|name| name == b"nlctrl\0"));
    }

    #[test]
    fn an_answer_given_up_leaves_nothing_behind() {
        let mut kernel = Netlink::open().expect("a socket");
        kernel.answer_bytes_max = 0;
        let given_up = kernel.ask(CONTROL, GET_FAMILY, true, &[]).expect_err("no room");
        assert_eq!(given_up.to_string(), "too long an answer");
        let rest = recv(&kernel.socket, &mut [0_u8; 16][..], RecvFlags::DONTWAIT);
        assert_eq!(rest.expect_err("nothing was asked since"), Errno::AGAIN);
        kernel.answer_bytes_max = ANSWER_BYTES_MAX;
        kernel.ask(CONTROL, GET_FAMILY, true, &[]).expect("a dump");
    }

    #[test]
    fn parts_of_answers() {
        let part = |kind, flags, sequence| encode(kind, flags, sequence, 7, &[(2 | 0x8000, b"abc")]);
        let two = [part(30, MULTI, 1), part(30, MULTI, 9), part(30, MULTI, 1)].concat();
        let mut answer = Answer::default();
        answer.read(&two, 1).expect("a part");
        assert_eq!((answer.messages.len(), answer.is_whole), (2, false));
        assert_eq!(attributes(&answer.messages[0]).collect::<Vec<_>>(), [(2, &b"abc"[..])]);
        let end = |code: i32| {
            let [a, b, c, d] = code.to_ne_bytes();
            let mut end = encode(DONE, MULTI, 1, 0, &[]);
            end[HEADER_BYTES..].copy_from_slice(&[a, b, c, d]);
            end
        };
        answer.read(&end(0), 1).expect("the end");
        assert!(answer.is_whole);
        let failed = Answer::default().read(&end(-95), 1).expect_err("not supported");
        assert_eq!(failed.raw_os_error(), Some(95));
        let mut single = Answer::default();
        single.read(&part(30, 0, 1), 1).expect("a message");
        assert!(single.is_whole);
        for len in 17..28 {
            assert!(Answer::default().read(&two[..len], 1).is_err(), "{len}");
        }
    }
}
