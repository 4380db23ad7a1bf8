//! One ioctl, `SIOCETHTOOL`, which answers into the buffer that asks. Layouts: include/uapi/linux/ethtool.h of the kernel.

#![allow(
    unsafe_code,
    reason = "no safe crate wraps this ioctl, whose answers only a page that nobody may write into keeps within bounds"
)]

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;

use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

const SIOCETHTOOL: u32 = 0x8946;

/// A socket that drivers are asked through. Any will do.
pub(super) struct EthtoolSocket {
    socket: OwnedFd,
    room: Room,
}

/// Memory with a page behind it that nobody may write into. The kernel writes as many numbers as a device has by then,
/// not as many as it was asked for: where they do not fit any more, it fails there instead of going on.
struct Room {
    start: *mut libc::c_void,
    usable: usize,
    whole: usize,
}

impl EthtoolSocket {
    /// Opens one for answers of up to `answer_bytes_max`.
    pub(super) fn open(answer_bytes_max: usize) -> io::Result<Self> {
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, room: Room::new(answer_bytes_max)? })
    }

    /// Asks the driver of a device.
    pub(super) fn ask(&mut self, device: &str, question: &[u8], answer_bytes: usize) -> Result<Vec<u8>, Errno> {
        // SAFETY: all zeros is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        // The name ends in a zero.
        if device.len() >= request.ifr_name.len() {
            return Err(Errno::NODEV);
        }
        for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
            *to = from as libc::c_char;
        }
        let room = self.room.bytes(question.len().max(answer_bytes)).ok_or(Errno::NOBUFS)?;
        room.fill(0);
        room[..question.len()].copy_from_slice(question);
        request.ifr_ifru.ifru_data = room.as_mut_ptr().cast();
        // SAFETY: the kernel reads the name, and writes behind `ifru_data` alone, in order, up to the page that it may not
        // write into. It keeps no pointer. Nobody else refers to the room.
        let answer = unsafe { libc::ioctl(self.socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
        if answer != 0 {
            return Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO));
        }
        self.room.bytes(answer_bytes).map(|bytes| bytes.to_vec()).ok_or(Errno::NOBUFS)
    }
}

impl Room {
    fn new(bytes: usize) -> io::Result<Self> {
        let page = rustix::param::page_size();
        let usable = bytes.next_multiple_of(page);
        let whole = usable + page;
        // SAFETY: a mapping of its own, at a place that the kernel chooses.
        let start =
            unsafe { mmap_anonymous(null_mut(), whole, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
        let room = Self { start, usable, whole };
        // SAFETY: the last page of the mapping, which nobody refers to.
        unsafe { mprotect(start.byte_add(usable), page, MprotectFlags::empty())? };
        Ok(room)
    }

    fn bytes(&mut self, len: usize) -> Option<&mut [u8]> {
        // SAFETY: the mapping is readable and writable up to `usable`, lives as long as `self`, and is borrowed whole.
        (len <= self.usable).then(|| unsafe { std::slice::from_raw_parts_mut(self.start.cast(), len) })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // SAFETY: the whole mapping of `new`, which nobody refers to any more. A failure would leave it where it is.
        let _ = unsafe { munmap(self.start, self.whole) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_end_at_the_room() {
        let mut socket = EthtoolSocket::open(100).expect("everybody may have one");
        // ETHTOOL_GDRVINFO of what is no device, of a name that is none, and into more than there is.
        let question = 3_u32.to_ne_bytes();
        for (device, bytes, expected) in [
            ("no-such-device", 196, Errno::NODEV),
            ("a-name-longer-than-names-are", 196, Errno::NODEV),
            ("lo", 1 << 20, Errno::NOBUFS),
        ] {
            assert_eq!(socket.ask(device, &question, bytes), Err(expected), "{device}");
        }
        let room = &mut socket.room;
        assert_eq!(room.bytes(room.usable).map(|bytes| bytes.len()), Some(rustix::param::page_size()));
        assert!(room.bytes(room.usable + 1).is_none());
    }

    #[test]
    fn the_kernel_stops_at_the_end_of_the_room() {
        let room = Room::new(100).expect("memory");
        let zeros = std::fs::File::open("/dev/zero").expect("every system has it");
        let read = |at: usize| {
            // SAFETY: read(2) writes in order from within the mapping, and up to the page that it may not write into.
            let read = unsafe { libc::read(zeros.as_raw_fd(), room.start.byte_add(at), 16) };
            (read, Errno::from_io_error(&io::Error::last_os_error()).filter(|_| read < 0))
        };
        assert_eq!(read(room.usable - 16), (16, None));
        // What was written before the end may be said or not.
        let over_it = read(room.usable - 8);
        assert!([(8, None), (-1, Some(Errno::FAULT))].contains(&over_it), "{over_it:?}");
        assert_eq!(read(room.usable), (-1, Some(Errno::FAULT)));
    }
}
