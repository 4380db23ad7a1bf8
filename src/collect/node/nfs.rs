//! NFS, as a client (`/proc/net/rpc/nfs`) and as a server (`/proc/net/rpc/nfsd`).
//!
//! Both files have a line per subject: its name, then numbers. The operations of a protocol version come in the order of its
//! numbers, with their count in front. Source: fs/nfs, fs/nfsd and net/sunrpc/stats.c of the Linux kernel.

use super::super::page::Page;
use super::host::{Host, NodeError};
use super::table::Table;
use crate::model::MetricType::Counter;

const CLIENT: Table = Table {
    prefix: "node_nfs_",
    labels: &[],
    help: "",
    lines: "\
net.3 connections_total - TCP connections.
rpc.0 rpcs_total - Calls.
rpc.1 rpc_retransmissions_total - Calls that were sent again.
rpc.2 rpc_authentication_refreshes_total - Refreshed authentications.",
};

const SERVER: Table = Table {
    prefix: "node_nfsd_",
    labels: &[],
    help: "",
    lines: "\
rc.0 reply_cache_hits_total - Requests that the reply cache answered.
rc.1 reply_cache_misses_total - Requests that need the reply cache and were not in it.
rc.2 reply_cache_nocache_total - Requests that need no reply cache.
fh.0 file_handles_stale_total - Stale file handles.
io.0 disk_bytes_read_total - Bytes read.
io.1 disk_bytes_written_total - Bytes written.
th.0 server_threads - Threads that serve.
ra.0 read_ahead_cache_size_blocks - Size of the read-ahead cache.
ra.11 read_ahead_cache_not_found_total - Reads that the read-ahead cache did not know.
net.3 connections_total - TCP connections.
rpc.0 server_rpcs_total - Calls.",
};

const V2: &str = "Null GetAttr SetAttr Root Lookup ReadLink Read WrCache Write Create Remove Rename Link SymLink MkDir RmDir \
                  ReadDir FsStat";

const V3: &str = "Null GetAttr SetAttr Lookup Access ReadLink Read Write Create MkDir SymLink MkNod Remove RmDir Rename Link \
                  ReadDir ReadDirPlus FsStat FsInfo PathConf Commit";

const CLIENT_V4: &str = "Null Read Write Commit Open OpenConfirm OpenNoattr OpenDowngrade Close Setattr FsInfo Renew \
                         SetClientID SetClientIDConfirm Lock Lockt Locku Access Getattr Lookup LookupRoot Remove Rename Link \
                         Symlink Create Pathconf StatFs ReadLink ReadDir ServerCaps DelegReturn GetACL SetACL FsLocations \
                         ReleaseLockowner Secinfo FsidPresent ExchangeID CreateSession DestroySession Sequence GetLeaseTime \
                         ReclaimComplete GetDeviceInfo LayoutGet LayoutCommit LayoutReturn SecinfoNoName TestStateID \
                         FreeStateID GetDeviceList BindConnToSession DestroyClientID Seek Allocate DeAllocate LayoutStats \
                         Clone";

/// Operations that are not shown have no name here.
const SERVER_V4: &str = "- - - Access Close Commit Create DelegPurge DelegReturn GetAttr GetFH Link Lock Lockt Locku Lookup \
                         LookupRoot Nverify Open OpenAttr OpenConfirm OpenDgrd PutFH - - Read ReadDir ReadLink Remove Rename \
                         Renew RestoreFH SaveFH SecInfo SetAttr SetClientID SetClientIDConfirm Verify Write RelLockOwner";

pub(super) fn collect_client(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc_if_any("net/rpc/nfs")?;
    write_pairs(
        page,
        "node_nfs_packets_total",
        "Packets by protocol.",
        "protocol",
        &text,
        [("udp", "net.1"), ("tcp", "net.2")],
    );
    CLIENT.write_alone(page, &mut |source| Some(number(&text, source).unwrap_or(0.0)));
    write_requests(
        page,
        "node_nfs_requests_total",
        &text,
        &[("2", V2, "proc2"), ("3", V3, "proc3"), ("4", CLIENT_V4, "proc4")],
    );
    Ok(())
}

pub(super) fn collect_server(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = host.proc_if_any("net/rpc/nfsd")?;
    SERVER.write_alone(page, &mut |source| Some(number(&text, source).unwrap_or(0.0)));
    write_pairs(
        page,
        "node_nfsd_packets_total",
        "Packets by protocol.",
        "proto",
        &text,
        [("udp", "net.1"), ("tcp", "net.2")],
    );
    let errors = [("fmt", "rpc.2"), ("auth", "rpc.3"), ("cInt", "rpc.4")];
    write_pairs(page, "node_nfsd_rpc_errors_total", "Bad calls by kind.", "error", &text, errors);
    // The server does not show the calls that do nothing.
    let shown = |names: &'static str| names.strip_prefix("Null").unwrap_or(names);
    let versions = [("2", shown(V2), "proc2"), ("3", shown(V3), "proc3"), ("4", SERVER_V4, "proc4ops")];
    write_requests(page, "node_nfsd_requests_total", &text, &versions);
    Ok(())
}

fn write_pairs<const N: usize>(
    page: &mut Page<'_>,
    name: &str,
    help: &str,
    label: &str,
    text: &str,
    pairs: [(&str, &str); N],
) {
    let mut family = page.family(name, Counter, help);
    for (value, source) in pairs {
        family.sample(&[(label, value)], number(text, source).unwrap_or(0.0));
    }
}

/// One sample per operation; an older kernel's missing ones are zero.
fn write_requests(page: &mut Page<'_>, name: &str, text: &str, versions: &[(&str, &str, &str)]) {
    let mut family = page.family(name, Counter, "Requests by protocol version and operation.");
    for (version, methods, line) in versions {
        // Behind the line's name and the count.
        let mut counts = numbers(text, line).skip(1 + usize::from(methods.starts_with(' ')));
        for method in methods.split_ascii_whitespace() {
            let count = counts.next().unwrap_or(0.0);
            if method != "-" {
                family.sample(&[("method", method), ("proto", version)], count);
            }
        }
    }
    if name.contains("nfsd") {
        let count = number(text, "wdeleg_getattr.0").unwrap_or(0.0);
        family.sample(&[("method", "WdelegGetattr"), ("proto", "4")], count);
    }
}

/// `net.3`: the fourth number of the line `net`.
fn number(text: &str, source: &str) -> Option<f64> {
    let (line, column) = source.split_once('.')?;
    numbers(text, line).nth(column.parse().ok()?)
}

fn numbers<'t>(text: &'t str, line: &str) -> impl Iterator<Item = f64> + use<'t> {
    let found = text.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(' ')).unwrap_or("");
    found.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0.0))
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_by_line_and_column() {
        let text = "rc 1 2 3\nproc2 2 5 6\nproc4 1 9\nproc4ops 2 7 8\n";
        let cases = [
            ("rc.2", Some(3.0)),
            ("proc2.1", Some(5.0)),
            ("proc4ops.2", Some(8.0)),
            ("proc4.2", None),
            ("net.0", None),
        ];
        for (source, expected) in cases {
            assert_eq!(super::number(text, source), expected, "{source}");
        }
    }
}
