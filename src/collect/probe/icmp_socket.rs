//! Sockets for echo requests: the kernel's own for everybody (`net.ipv4.ping_group_range`), or raw ones.

#![allow(
    unsafe_code,
    reason = "no crate of the tree wraps recvmsg(2) with the TTL, or the two options that ask for it"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover, set_ip_ttl, set_ipv6_unicast_hops};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, bind, ipproto, sendto, socket_with};
use tokio::io::unix::AsyncFd;

/// A socket towards one family of addresses.
pub(super) struct EchoSocket {
    fd: AsyncFd<OwnedFd>,
    is_ip4: bool,
    /// Raw sockets choose the id of their requests, and see everybody's replies.
    pub(super) is_raw: bool,
}

/// What has come.
pub(super) struct Packet {
    /// The ICMP message.
    pub(super) message: Vec<u8>,
    /// From whom.
    pub(super) from: IpAddr,
    /// The TTL or hop limit that was left.
    pub(super) hop_limit: Option<u8>,
}

/// Why there is no socket.
pub(super) enum NoSocket {
    /// The kernel allows neither kind.
    Forbidden,
    /// Another reason.
    Failed(io::Error),
}

impl EchoSocket {
    /// Opens a socket at an address of this machine.
    pub(super) fn open(local: SocketAddr) -> Result<Self, NoSocket> {
        let is_ip4 = local.is_ipv4();
        let open = |kind: SocketType| {
            let (family, protocol) =
                if is_ip4 { (AddressFamily::INET, ipproto::ICMP) } else { (AddressFamily::INET6, ipproto::ICMPV6) };
            socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol))
        };
        let (socket, is_raw) = match open(SocketType::DGRAM) {
            Ok(socket) => (socket, false),
            Err(_) => match open(SocketType::RAW) {
                Ok(socket) => (socket, true),
                Err(rustix::io::Errno::PERM | rustix::io::Errno::ACCESS) => return Err(NoSocket::Forbidden),
                Err(error) => return Err(NoSocket::Failed(error.into())),
            },
        };
        Self::set_up(socket, local, is_raw).map_err(NoSocket::Failed)
    }

    fn set_up(socket: OwnedFd, local: SocketAddr, is_raw: bool) -> io::Result<Self> {
        bind(&socket, &local)?;
        let (level, name) = match local.is_ipv4() {
            true => (libc::IPPROTO_IP, libc::IP_RECVTTL),
            false => (libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT),
        };
        let on: libc::c_int = 1;
        // SAFETY: the option's value is an int that lives through the call. Without the option there is no TTL to show.
        unsafe {
            libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const on).cast(), size_of::<libc::c_int>() as _);
        }
        let is_ip4 = local.is_ipv4();
        // SAFETY: an owned descriptor names the same open socket for as long as it lives.
        Ok(Self { fd: unsafe { AsyncFd::register(socket)? }, is_ip4, is_raw })
    }

    /// The TTL or hop limit of what is sent.
    pub(super) fn set_ttl(&self, ttl: u8) -> io::Result<()> {
        match self.is_ip4 {
            true => set_ip_ttl(&self.fd, ttl.into())?,
            false => set_ipv6_unicast_hops(&self.fd, Some(ttl))?,
        }
        Ok(())
    }

    /// What is too long for a link is refused instead of taken apart.
    pub(super) fn forbid_fragments(&self) -> io::Result<()> {
        if self.is_ip4 {
            set_ip_mtu_discover(&self.fd, Ipv4PathMtuDiscovery::DO)?;
        }
        Ok(())
    }

    /// Sends a message.
    pub(super) fn send(&self, message: &[u8], to: SocketAddr) -> io::Result<()> {
        sendto(&self.fd, message, SendFlags::empty(), &to)?;
        Ok(())
    }

    /// Waits for a message.
    pub(super) async fn receive(&self, buffer: &mut [u8]) -> io::Result<Packet> {
        loop {
            let mut ready = self.fd.readable().await?;
            let Ok(received) = ready.try_io(|fd| receive(fd.get_ref(), buffer)) else { continue };
            let (len, from, hop_limit) = received?;
            let message = &buffer[..len.min(buffer.len())];
            // A raw socket of IPv4 gives the IP header too, whose length is counted in words.
            let header_len = match message.first() {
                Some(first) if self.is_raw && self.is_ip4 => usize::from(first & 0xf) * 4,
                _ => 0,
            };
            let Some(from) = from else { continue };
            let message = message.get(header_len..).unwrap_or_default().to_vec();
            return Ok(Packet { message, from, hop_limit });
        }
    }
}

/// One call of recvmsg(2): the length, the sender and the TTL.
fn receive(socket: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Option<IpAddr>, Option<u8>)> {
    let mut name = [0_u64; 16];
    let mut control = [0_u64; 16];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeros is a valid msghdr; its fields are set below, those that only pad it on musl stay zero.
    let mut header: libc::msghdr = unsafe { zeroed() };
    header.msg_name = name.as_mut_ptr().cast();
    header.msg_namelen = size_of_val(&name) as _;
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    // SAFETY: every pointer in the header leads to a buffer of the length beside it, and all outlive the call.
    let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
    let mut hop_limit = None;
    // SAFETY: the kernel has filled the control buffer, and the macros walk no further than msg_controllen.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const header) };
    while !next.is_null() {
        // SAFETY: `next` is a header within the aligned control buffer; an int follows it where the kind says so, and
        // the kernel writes whole values.
        unsafe {
            let kind = ((*next).cmsg_level, (*next).cmsg_type);
            if kind == (libc::IPPROTO_IP, libc::IP_TTL) || kind == (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) {
                let value = libc::CMSG_DATA(next).cast::<libc::c_int>().read_unaligned();
                hop_limit = u8::try_from(value).ok();
            }
            next = libc::CMSG_NXTHDR(&raw const header, next);
        }
    }
    Ok((len, address(&name), hop_limit))
}

/// The address in a `sockaddr_in` or `sockaddr_in6`.
fn address(name: &[u64; 16]) -> Option<IpAddr> {
    let bytes: Vec<u8> = name.iter().flat_map(|word| word.to_ne_bytes()).collect();
    match libc::c_int::from(u16::from_ne_bytes([bytes[0], bytes[1]])) {
        libc::AF_INET => Some(Ipv4Addr::from(<[u8; 4]>::try_from(&bytes[4..8]).ok()?).into()),
        libc::AF_INET6 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[8..24]).ok()?).into()),
        _ => None,
    }
}
