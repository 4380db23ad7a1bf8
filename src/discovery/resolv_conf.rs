//! Which name servers to ask, and what to append to short names: `/etc/resolv.conf`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// As many as the system's resolver uses.
const SERVERS_MAX: usize = 3;
const SEARCH_MAX: usize = 6;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ResolvConf {
    /// The name servers, in order.
    pub(super) servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
}

impl ResolvConf {
    /// Reads the file's text; unknown lines are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let mut conf = Self { servers: Vec::new(), search: Vec::new(), ndots: 1 };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                // A zone (`fe80::1%eth0`) cannot be used without the interface's number.
                Some("nameserver") => conf.servers.extend(words.next().and_then(server)),
                Some("search" | "domain") => conf.search = words.take(SEARCH_MAX).map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words.find_map(|word| word.strip_prefix("ndots:")?.parse().ok());
                    conf.ndots = ndots.unwrap_or(conf.ndots).min(15);
                }
                _ => {}
            }
        }
        conf.servers.truncate(SERVERS_MAX);
        if conf.servers.is_empty() {
            conf.servers.push((Ipv4Addr::LOCALHOST, 53).into());
        }
        conf
    }

    /// The full names to try for a name, in order.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(full) = name.strip_suffix('.') {
            return vec![full.to_owned()];
        }
        let mut names: Vec<String> =
            self.search.iter().map(|domain| format!("{name}.{}", domain.trim_matches('.'))).collect();
        let first = if name.matches('.').count() >= self.ndots { 0 } else { names.len() };
        names.insert(first, name.to_owned());
        names
    }
}

fn server(text: &str) -> Option<SocketAddr> {
    Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 53))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_file() {
        let conf = ResolvConf::parse(
            "# x\nnameserver 10.0.0.1\nnameserver fe80::1%eth0\nnameserver ::1\nsearch a.lan. b\noptions rotate ndots:2\n",
        );
        assert_eq!(conf.servers, ["10.0.0.1:53".parse().expect("valid"), "[::1]:53".parse().expect("valid")]);
        assert_eq!(conf.candidates("x.y"), ["x.y.a.lan", "x.y.b", "x.y"]);
        assert_eq!(conf.candidates("x.y.z"), ["x.y.z", "x.y.z.a.lan", "x.y.z.b"]);
        assert_eq!(conf.candidates("x."), ["x"]);
        assert_eq!(ResolvConf::parse("").servers, ["127.0.0.1:53".parse().expect("valid")]);
    }
}
