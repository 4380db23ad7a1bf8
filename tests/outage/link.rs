//! A network namespace for the central, and two ways into it: the link that a test cuts and slows down packet by packet,
//! and one beside it that always works, for the test's own questions.
//!
//! The link is a pair of TUN devices with this process between them: the kernels that the tests meet have no netem.

#![allow(unsafe_code, reason = "a TUN device is attached by an ioctl that no safe library offers")]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

/// The largest packet.
const PACKET_BYTES_MAX: usize = 65_536;

/// Packets on their way in one direction.
const QUEUE_PACKETS_MAX: usize = 8192;

/// A namespace with its link. Taken down when dropped.
pub struct Link {
    /// The namespace's name.
    pub namespace: String,
    names: Names,
    net: Net,
    state: Arc<State>,
}

/// The devices' names: the two ends of the shaped link, and of the one beside it.
struct Names {
    near: String,
    far: String,
    aside: String,
    aside_far: String,
}

/// `10.x.y`, of which each link has its own.
struct Net(u32, u32);

/// How the link is right now.
#[derive(Default)]
struct State {
    is_cut: AtomicBool,
    /// Of 1,000 packets so many are lost.
    loss_permille: AtomicU32,
    /// One way.
    delay_ms: AtomicU64,
    packets_lost: AtomicU64,
}

impl Link {
    /// A namespace behind a good link, or `None`, loudly, where it cannot be had.
    pub fn new() -> Option<Self> {
        match Self::try_new() {
            Ok(link) => Some(link),
            Err(reason) => {
                assert!(std::env::var_os("CI").is_none(), "a network namespace is needed here: {reason}");
                eprintln!("SKIPPED: needs root, network namespaces (iproute2) and /dev/net/tun: {reason}");
                None
            }
        }
    }

    fn try_new() -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let (process, number) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let name = |end: &str| format!("op{process}{end}{number}");
        let names = Names { near: name("n"), far: name("f"), aside: name("a"), aside_far: name("b") };
        let net = Net(64 + process % 128, process / 128 % 8 * 32 + number);
        let link = Self { namespace: name("-"), names, net, state: Arc::default() };
        run(&format!("ip netns add {}", link.namespace))?;
        link.make_shaped()?;
        link.make_aside()?;
        run(&format!("ip -n {} link set lo up", link.namespace))?;
        Ok(link)
    }

    fn make_shaped(&self) -> Result<(), String> {
        let Names { near, far, .. } = &self.names;
        let (near_file, far_file) = (open_tun(near)?, open_tun(far)?);
        run(&format!("ip link set {far} netns {}", self.namespace))?;
        run(&format!("ip addr add {}/30 dev {near}", self.near()))?;
        run(&format!("ip link set {near} up"))?;
        run(&format!("ip -n {} addr add {}/30 dev {far}", self.namespace, self.net.address(2)))?;
        run(&format!("ip -n {} link set {far} up", self.namespace))?;
        let clone = |file: &File| file.try_clone().map_err(|error| error.to_string());
        carry(clone(&near_file)?, clone(&far_file)?, Arc::clone(&self.state));
        carry(far_file, near_file, Arc::clone(&self.state));
        Ok(())
    }

    fn make_aside(&self) -> Result<(), String> {
        let Names { aside, aside_far, .. } = &self.names;
        run(&format!("ip link add {aside} type veth peer name {aside_far} netns {}", self.namespace))?;
        run(&format!("ip addr add {}/30 dev {aside}", self.net.address(5)))?;
        run(&format!("ip link set {aside} up"))?;
        run(&format!("ip -n {} addr add {}/30 dev {aside_far}", self.namespace, self.aside()))?;
        run(&format!("ip -n {} link set {aside_far} up", self.namespace))
    }

    /// This side's address on the shaped link: what the central pulls from.
    pub fn near(&self) -> String {
        self.net.address(1)
    }

    /// The other side's address on the link that always works.
    pub fn aside(&self) -> String {
        self.net.address(6)
    }

    /// From now on no packet gets through, those on their way included.
    pub fn cut(&self) {
        self.state.is_cut.store(true, Ordering::SeqCst);
    }

    /// Packets get through again.
    pub fn join(&self) {
        self.state.is_cut.store(false, Ordering::SeqCst);
    }

    /// From now on so many of 1,000 packets are lost, and the others take so long each way.
    pub fn shape(&self, loss_permille: u32, delay: Duration) {
        self.state.loss_permille.store(loss_permille, Ordering::SeqCst);
        self.state.delay_ms.store(delay.as_millis() as u64, Ordering::SeqCst);
    }

    /// Packets that were lost so far, on purpose.
    pub fn packets_lost(&self) -> u64 {
        self.state.packets_lost.load(Ordering::SeqCst)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let Names { near, aside, .. } = &self.names;
        for command in [
            format!("ip link del {near}"),
            format!("ip link del {aside}"),
            // The far devices go with it.
            format!("ip netns del {}", self.namespace),
        ] {
            let _ = run(&command);
        }
    }
}

impl Net {
    fn address(&self, host: u32) -> String {
        format!("10.{}.{}.{host}", self.0, self.1)
    }
}

/// Runs a command line without quoting to its end.
fn run(command: &str) -> Result<(), String> {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output();
    let output = output.map_err(|error| format!("{command}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// A new TUN device: packets are read from and written to the file.
fn open_tun(name: &str) -> Result<File, String> {
    /// `struct ifreq` with the device's name and flags.
    #[repr(C)]
    struct Request {
        name: [u8; 16],
        flags: u16,
        rest: [u8; 22],
    }
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun");
    let file = file.map_err(|error| format!("/dev/net/tun: {error}"))?;
    let flags = (libc::IFF_TUN | libc::IFF_NO_PI) as u16;
    let mut request = Request { name: [0; 16], flags, rest: [0; 22] };
    request.name[..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the file is a TUN device's, and the request is as long as the kernel's structure.
    let outcome = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request) };
    match outcome {
        0 => Ok(file),
        _ => Err(format!("TUNSETIFF: {}", std::io::Error::last_os_error())),
    }
}

/// Carries packets one way until a device is gone.
fn carry(from: File, to: File, state: Arc<State>) {
    let (sender, receiver) = sync_channel(QUEUE_PACKETS_MAX);
    let reader_state = Arc::clone(&state);
    std::thread::spawn(move || take_in(from, &sender, &reader_state));
    std::thread::spawn(move || hand_out(to, &receiver, &state));
}

type Packet = (Instant, Vec<u8>);

fn take_in(mut from: File, sender: &SyncSender<Packet>, state: &State) {
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    // A fixed seed: the same packets are lost in each run, as far as the traffic is the same.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    while let Ok(length) = from.read(&mut buffer) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if random % 1000 < u64::from(state.loss_permille.load(Ordering::Relaxed)) {
            state.packets_lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let due = Instant::now() + Duration::from_millis(state.delay_ms.load(Ordering::Relaxed));
        // As in a router, a full queue loses packets.
        if sender.try_send((due, buffer[..length].to_vec())).is_err() {
            state.packets_lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn hand_out(mut to: File, receiver: &Receiver<Packet>, state: &State) {
    for (due, packet) in receiver {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if state.is_cut.load(Ordering::SeqCst) {
            state.packets_lost.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        // A device that is down takes nothing: that packet is lost, too.
        let _ = to.write(&packet);
    }
}
