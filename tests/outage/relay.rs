//! A relay between the central and the site that passes requests on and, when it is told to, harms replies.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What happens to replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    None,
    /// The site has sent all of it; the last bytes do not arrive, and the connection is closed.
    LoseTheEnd,
    /// Half of it arrives, and then nothing until the reader gives up.
    StopHalfWay,
}

/// Where the relay is reached, and what it does.
pub struct Relay {
    /// `address:port`
    pub address: String,
    state: Arc<State>,
}

struct State {
    harm: Mutex<Harm>,
    harmed: AtomicUsize,
}

impl Relay {
    /// Listens on this address and passes on to `site`. Its threads live as long as the test's process.
    pub fn start(address: &str, site: &str) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State { harm: Mutex::new(Harm::None), harmed: AtomicUsize::new(0) });
        let (site, shared) = (site.to_owned(), Arc::clone(&state));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (site, state) = (site.clone(), Arc::clone(&shared));
                std::thread::spawn(move || pass(client, &site, &state));
            }
        });
        Self { address, state }
    }

    /// From the next reply on.
    pub fn set(&self, harm: Harm) {
        *self.state.harm.lock().unwrap() = harm;
        if harm != Harm::None {
            self.state.harmed.store(0, Ordering::SeqCst);
        }
    }

    /// Replies that were harmed since it was told to.
    pub fn harmed(&self) -> usize {
        self.state.harmed.load(Ordering::SeqCst)
    }
}

/// One connection: each side's end ends the other.
fn pass(mut client: TcpStream, site: &str, state: &State) -> Option<()> {
    let mut site = TcpStream::connect(site).ok()?;
    let (mut from_client, mut to_site) = (client.try_clone().ok()?, site.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_site);
        let _ = to_site.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 1 << 20];
    loop {
        let reply = read_reply(&mut site, &mut buffer)?;
        let harm = *state.harm.lock().unwrap();
        if harm == Harm::None {
            client.write_all(reply).ok()?;
            continue;
        }
        state.harmed.fetch_add(1, Ordering::SeqCst);
        let arrives = if harm == Harm::LoseTheEnd { reply.len() - 3 } else { reply.len() / 2 };
        client.write_all(&reply[..arrives]).ok()?;
        if harm == Harm::StopHalfWay {
            // Until the reader has left.
            let _ = client.set_read_timeout(Some(Duration::from_secs(30)));
            let _ = site.read(&mut [0]);
        }
        let _ = client.shutdown(Shutdown::Both);
        return None;
    }
}

/// A whole reply: what comes until the site pauses. Replies are sent in one go, and the next request waits for this one.
fn read_reply<'a>(site: &mut TcpStream, buffer: &'a mut [u8]) -> Option<&'a [u8]> {
    site.set_read_timeout(None).ok()?;
    let mut length = site.read(buffer).ok().filter(|length| *length > 0)?;
    site.set_read_timeout(Some(Duration::from_millis(50))).ok()?;
    while let Ok(more @ 1..) = site.read(&mut buffer[length..]) {
        length += more;
    }
    site.set_read_timeout(None).ok()?;
    Some(&buffer[..length])
}
