//! What must hold for a page, a DNS reply or a certificate whatever its bytes are: the fuzz targets and the test that replays their corpus share it.
//!
//! Beyond not panicking: a series' raw bytes are a key that leads to the same labels wherever they stand; no target
//! can forge a stale marker; what was read and is written in any format reads the same again; and a slow parser that
//! goes byte by byte agrees with the fast one on the text format.
#![allow(clippy::unwrap_used, reason = "a check may stop at the first surprise")]

use std::collections::BTreeSet;

use outpost::client::certificate::Certificate;
use outpost::client::dns_message::{RecordType, parse_multicast_reply, parse_reply};
use outpost::client::dns_records::parse_message;
use outpost::clock::Clock;
use outpost::collect::{Collector, NodeCollector, NodeCollectorSettings, NodeFlags, Stranger, page_of_answer};
use outpost::exposition::{
    Entry, EscapingScheme, Format, PageWriter, ParseError, Parser, ResponseFormat, Series, lint,
};
use outpost::model::{METRIC_NAME, MetricType, Timestamp, is_stale_marker};

use super::reference;

/// Labels in the order of the page, the bits of the value, and the timestamp.
pub type Sample = (Vec<(String, String)>, u64, Option<i64>);

/// A page of the Prometheus text format.
pub fn text(page: &[u8]) {
    let (samples, verdict) = read(Format::PrometheusText004, page);
    let (expected, expected_verdict) = reference::read(page);
    assert_eq!(verdict.is_ok(), expected_verdict, "{verdict:?}");
    assert_eq!(without_numeric_spelling(&samples), without_numeric_spelling(&expected));
    round_trips(&samples);
    let _ = lint::check(page);
}

/// A page of OpenMetrics.
pub fn openmetrics(page: &[u8]) {
    round_trips(&read(Format::OpenMetricsText100, page).0);
}

/// A page of delimited protobuf.
pub fn protobuf(page: &[u8]) {
    round_trips(&read(Format::PrometheusProto, page).0);
}

/// The samples of a page up to its end or its first error.
fn read(format: Format, page: &[u8]) -> (Vec<Sample>, Result<(), ParseError>) {
    let mut parser = Parser::new(format, page);
    let mut samples = Vec::new();
    loop {
        match parser.next_entry() {
            Ok(Some(Entry::Series(series))) => samples.push(sample(format, &series)),
            Ok(Some(Entry::NativeHistogram(histogram))) => drop(histogram.decode()),
            Ok(Some(_)) => {}
            Ok(None) => return (samples, Ok(())),
            Err(error) => return (samples, Err(error)),
        }
    }
}

fn sample(format: Format, series: &Series<'_>) -> Sample {
    let labels = labels_of(series);
    assert!(labels.iter().any(|(name, _)| name == METRIC_NAME), "a series has a name");
    assert!(!is_stale_marker(series.value), "a stale marker comes from nobody but the scraper");
    series.exemplar.iter().flat_map(|exemplar| exemplar.labels()).for_each(drop);
    if format == Format::PrometheusProto {
        assert_eq!(series.raw.first(), Some(&0xff), "never a spelling of a text page");
    } else {
        is_a_key(format, series, &labels);
    }
    (labels, series.value.to_bits(), series.timestamp)
}

/// The same bytes at another place mean the same series, to both text parsers.
fn is_a_key(format: Format, series: &Series<'_>, labels: &[(String, String)]) {
    assert!(std::str::from_utf8(series.raw).is_ok());
    let page = [series.raw, b" 1\n# EOF\n"].concat();
    let others: &[Format] = match format {
        Format::OpenMetricsText100 => &[Format::OpenMetricsText100, Format::PrometheusText004],
        _ => &[Format::PrometheusText004],
    };
    for other in others {
        let mut parser = Parser::new(*other, &page);
        let Ok(Some(Entry::Series(found))) = parser.next_entry() else { panic!("{:?}", series.raw) };
        assert_eq!(found.raw, series.raw);
        assert_eq!(labels_of(&Series { metric_type: series.metric_type, ..found }), labels);
    }
}

fn labels_of(series: &Series<'_>) -> Vec<(String, String)> {
    series.labels().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

/// Bounds and quantiles are respelled by the fast parser alone.
fn without_numeric_spelling(samples: &[Sample]) -> Vec<Sample> {
    let mut samples = samples.to_vec();
    for (name, value) in samples.iter_mut().flat_map(|(labels, ..)| labels) {
        if matches!(name.as_str(), "le" | "quantile") {
            value.clear();
        }
    }
    samples
}

/// Writes what was read in every format and reads that again.
fn round_trips(samples: &[Sample]) {
    let samples: Vec<Sample> = samples.iter().filter(|sample| is_writable(sample)).cloned().collect();
    for format in [Format::PrometheusText100, Format::OpenMetricsText100, Format::PrometheusProto] {
        let expected: Vec<Sample> = samples.iter().map(|sample| as_written(format, sample)).collect();
        let mut writer = PageWriter::new(ResponseFormat { format, escaping: EscapingScheme::AllowUtf8 });
        writer.family("family", MetricType::Unknown, Some("help"), "");
        for (labels, value, timestamp) in &expected {
            let name = name_of(labels);
            let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            writer.sample(name, labels, f64::from_bits(*value), timestamp.map(Timestamp));
        }
        let page = writer.finish();
        let (found, verdict) = read(format, &page);
        assert_eq!(verdict, Ok(()), "{format:?}: {}", String::from_utf8_lossy(&page));
        let found: Vec<Sample> = found.iter().map(|sample| as_written(format, sample)).collect();
        assert_eq!(found, expected, "{format:?}: {}", String::from_utf8_lossy(&page));
    }
}

fn name_of(labels: &[(String, String)]) -> &str {
    labels.iter().find(|(name, _)| name == METRIC_NAME).map_or("", |(_, value)| value)
}

/// A scraper refuses a page with other label sets than these.
fn is_writable((labels, ..): &Sample) -> bool {
    let names: BTreeSet<&str> = labels.iter().map(|(name, _)| name.as_str()).collect();
    names.len() == labels.len() && !names.contains("") && !name_of(labels).is_empty()
}

/// The name first, and a timestamp that the format can express.
fn as_written(format: Format, (labels, value, timestamp): &Sample) -> Sample {
    let mut labels = labels.clone();
    labels.sort_by_key(|(name, _)| name != METRIC_NAME);
    // OpenMetrics counts seconds in floats and cuts off: a millisecond may get lost on the way.
    let expressible = |ms: &i64| match format {
        Format::PrometheusProto => *ms != 0,
        Format::OpenMetricsText100 => false,
        _ => *ms >= 0,
    };
    (labels, *value, timestamp.filter(expressible))
}

/// Files that the node collector parses, below the roots of a tree.
const KERNEL_FILES: [&str; 24] = [
    "proc/diskstats",
    "proc/interrupts",
    "proc/loadavg",
    "proc/mdstat",
    "proc/meminfo",
    "proc/net/arp",
    "proc/net/dev",
    "proc/net/ip_vs",
    "proc/net/ip_vs_stats",
    "proc/net/netstat",
    "proc/net/rpc/nfs",
    "proc/net/rpc/nfsd",
    "proc/net/snmp6",
    "proc/net/sockstat",
    "proc/net/softnet_stat",
    "proc/net/udp",
    "proc/pressure/cpu",
    "proc/schedstat",
    "proc/softirqs",
    "proc/spl/kstat/zfs/tank/objset-1",
    "proc/stat",
    "proc/vmstat",
    "rootfs/etc/os-release",
    "sys/fs/xfs/sda/stats/stats",
];

/// Text of the kernel: the first byte says which file has it. The page that it leads to is one that the scraper takes.
pub fn node(data: &[u8]) {
    let Some((first, text)) = data.split_first() else { return };
    let file = KERNEL_FILES[usize::from(*first) % KERNEL_FILES.len()];
    let tree = tempfile::TempDir::new().unwrap();
    for (path, text) in [("proc/stat", &b"cpu0 1 2 3\n"[..]), (file, text)] {
        let path = tree.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let flags = ["interrupts", "softirqs", "stat.softirq"].map(|name| format!("--collector.{name}"));
    let collector = NodeCollector::new(
        NodeCollectorSettings {
            procfs: tree.path().join("proc"),
            sysfs: tree.path().join("sys"),
            rootfs: tree.path().join("rootfs"),
            flags: NodeFlags::parse(flags.to_vec()).unwrap(),
        },
        Clock::system(),
    );
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut page = Vec::new();
    runtime.block_on(collector.collect(&mut page)).unwrap();
    let (_, verdict) = read(Format::PrometheusText004, &page);
    assert!(verdict.is_ok(), "{verdict:?}");
}

/// Answers of programs that collectors ask: the first byte says whose. The page is one that the scraper takes.
pub fn answers(data: &[u8]) {
    let Some((first, answer)) = data.split_first() else { return };
    let strangers = [Stranger::Engine, Stranger::Smartctl, Stranger::Upsd, Stranger::Driver, Stranger::Radio];
    let page = page_of_answer(strangers[usize::from(*first) % strangers.len()], answer);
    let (_, verdict) = read(Format::PrometheusText004, &page);
    assert!(verdict.is_ok(), "{verdict:?}: {}", String::from_utf8_lossy(&page));
}

/// A reply of a name server: each record of one that is taken has a text, and all readers end.
pub fn dns(message: &[u8]) {
    let id = message.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    for record_type in [RecordType::A, RecordType::Srv, RecordType::Mx] {
        let _ = parse_reply(message, id, record_type);
    }
    let _ = parse_multicast_reply(message, "a.lan");
    let Some(reply) = parse_message(message, id) else { return };
    let sections = [&reply.answers, &reply.authority, &reply.additional];
    for record in sections.into_iter().flatten() {
        let text = record.text().expect("it was read before");
        assert!(text.split('\t').count() >= 5, "{text:?}");
        // The tag of a CAA record stands in its text as it came.
        assert!(!text.contains('\n') || text.contains("\tCAA\t"), "{text:?}");
        let _ = record.zone_serial();
    }
}

/// A certificate: what is read of it lies within its bytes.
pub fn certificate(der: &[u8]) {
    let Some(found) = Certificate::parse(der) else { return };
    assert!(found.serial.len() <= 2 * der.len() && found.serial.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert!(found.dns_names.len() <= der.len());
    // No byte becomes more than a number of three digits with a dot and its name.
    assert!(found.subject().len() + found.issuer().len() <= 16 * der.len());
    // What follows a certificate is no part of it.
    assert_eq!(Certificate::parse(&[der, &[0x30, 0]].concat()), Some(found.clone()));
}
