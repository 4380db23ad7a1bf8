//! What smartctl says of disks as families, under smartctl_exporter's names.
//!
//! Names and labels: prometheus-community/smartctl_exporter, metrics.go and smartctl.go. Other than there a figure that
//! smartctl does not give is absent rather than 0, and what can fall is a gauge.

use serde_json::Value;

use crate::collect::page::{Family, Page};
use crate::model::MetricType;

/// Rows of one table of a disk that are shown; ATA has at most 30 attributes, and some hundred statistics.
const ROWS_MAX: usize = 512;

/// A disk and what smartctl last said of it.
pub struct Report<'a> {
    /// The `device` label.
    pub device: &'a str,
    /// smartctl's answer.
    pub answer: &'a Value,
}

/// A family of one figure per disk.
struct Figure {
    name: &'static str,
    metric_type: MetricType,
    help: &'static str,
    /// Where it stands and what it is multiplied with; the first that is there counts.
    sources: &'static [(&'static str, f64)],
    /// Whether 0 means that the disk does not tell.
    is_zero_silence: bool,
}

const fn gauge(name: &'static str, help: &'static str, sources: &'static [(&'static str, f64)]) -> Figure {
    Figure { name, metric_type: MetricType::Gauge, help, sources, is_zero_silence: false }
}

const fn counter(name: &'static str, help: &'static str, sources: &'static [(&'static str, f64)]) -> Figure {
    Figure { name, metric_type: MetricType::Counter, help, sources, is_zero_silence: false }
}

const fn silent_at_zero(figure: Figure) -> Figure {
    Figure { is_zero_silence: true, ..figure }
}

/// NVMe counts thousands of 512 byte units (NVM Express Base Specification, SMART log page).
const NVME_DATA_UNIT_BYTES: f64 = 512_000.0;

const FIGURES: &[Figure] = &[
    gauge(
        "smartctl_device_smartctl_exit_status",
        "smartctl's exit status, a bit field.",
        &[("smartctl.exit_status", 1.0)],
    ),
    gauge(
        "smartctl_device_smart_status",
        "Whether the disk's own assessment is passed.",
        &[("smart_status.passed", 1.0)],
    ),
    gauge("smartctl_device_capacity_blocks", "Capacity in blocks.", &[("user_capacity.blocks", 1.0)]),
    gauge("smartctl_device_capacity_bytes", "Capacity in bytes.", &[("user_capacity.bytes", 1.0)]),
    gauge(
        "smartctl_device_nvme_capacity_bytes",
        "Capacity of all NVMe namespaces in bytes.",
        &[("nvme_total_capacity", 1.0)],
    ),
    silent_at_zero(gauge("smartctl_device_rotation_rate", "Rotations per minute.", &[("rotation_rate", 1.0)])),
    counter(
        "smartctl_device_power_cycle_count",
        "How often the disk was switched on.",
        &[("power_cycle_count", 1.0), ("scsi_start_stop_cycle_counter.accumulated_start_stop_cycles", 1.0)],
    ),
    gauge(
        "smartctl_device_state",
        "0 active, 1 standby, 2 sleep, 3 self-test, 4 offline, 5 SCT command.",
        &[("ata_sct_status.device_state.value", 1.0), ("ata_sct_status.device_state", 1.0)],
    ),
    gauge(
        "smartctl_device_percentage_used",
        "Share of the disk's life that is used, in percent.",
        &[("nvme_smart_health_information_log.percentage_used", 1.0)],
    ),
    gauge(
        "smartctl_device_available_spare",
        "Spare capacity that is left, in percent.",
        &[("nvme_smart_health_information_log.available_spare", 1.0)],
    ),
    gauge(
        "smartctl_device_available_spare_threshold",
        "Spare capacity below which the disk warns, in percent.",
        &[("nvme_smart_health_information_log.available_spare_threshold", 1.0)],
    ),
    gauge(
        "smartctl_device_critical_warning",
        "The controller's critical warnings, a bit field.",
        &[("nvme_smart_health_information_log.critical_warning", 1.0)],
    ),
    counter(
        "smartctl_device_media_errors",
        "Data integrity errors that could not be recovered.",
        &[("nvme_smart_health_information_log.media_errors", 1.0)],
    ),
    counter(
        "smartctl_device_num_err_log_entries",
        "Entries ever made in the error log.",
        &[("nvme_smart_health_information_log.num_err_log_entries", 1.0)],
    ),
    silent_at_zero(counter(
        "smartctl_device_bytes_read",
        "Bytes read over the disk's life.",
        &[
            ("nvme_smart_health_information_log.data_units_read", NVME_DATA_UNIT_BYTES),
            ("scsi_error_counter_log.read.gigabytes_processed", 1e9),
        ],
    )),
    silent_at_zero(counter(
        "smartctl_device_bytes_written",
        "Bytes written over the disk's life.",
        &[
            ("nvme_smart_health_information_log.data_units_written", NVME_DATA_UNIT_BYTES),
            ("scsi_error_counter_log.write.gigabytes_processed", 1e9),
        ],
    )),
    gauge("smartctl_scsi_grown_defect_list", "Entries of the grown defect list.", &[("scsi_grown_defect_list", 1.0)]),
    gauge(
        "smartctl_read_errors_corrected_by_rereads_rewrites",
        "Read errors corrected by reading again.",
        &[("scsi_error_counter_log.read.errors_corrected_by_rereads_rewrites", 1.0)],
    ),
    gauge(
        "smartctl_read_errors_corrected_by_eccfast",
        "Read errors corrected without delay.",
        &[("scsi_error_counter_log.read.errors_corrected_by_eccfast", 1.0)],
    ),
    gauge(
        "smartctl_read_errors_corrected_by_eccdelayed",
        "Read errors corrected with delay.",
        &[("scsi_error_counter_log.read.errors_corrected_by_eccdelayed", 1.0)],
    ),
    gauge(
        "smartctl_read_total_uncorrected_errors",
        "Read errors that were not corrected.",
        &[("scsi_error_counter_log.read.total_uncorrected_errors", 1.0)],
    ),
    gauge(
        "smartctl_write_errors_corrected_by_rereads_rewrites",
        "Write errors corrected by writing again.",
        &[("scsi_error_counter_log.write.errors_corrected_by_rereads_rewrites", 1.0)],
    ),
    gauge(
        "smartctl_write_errors_corrected_by_eccfast",
        "Write errors corrected without delay.",
        &[("scsi_error_counter_log.write.errors_corrected_by_eccfast", 1.0)],
    ),
    gauge(
        "smartctl_write_errors_corrected_by_eccdelayed",
        "Write errors corrected with delay.",
        &[("scsi_error_counter_log.write.errors_corrected_by_eccdelayed", 1.0)],
    ),
    gauge(
        "smartctl_write_total_uncorrected_errors",
        "Write errors that were not corrected.",
        &[("scsi_error_counter_log.write.total_uncorrected_errors", 1.0)],
    ),
];

/// Attributes' flags, as smartctl names them.
const ATTRIBUTE_FLAGS: [&str; 6] =
    ["prefailure", "updated_online", "performance", "error_rate", "event_count", "auto_keep"];
const STATISTIC_FLAGS: [&str; 4] = ["valid", "normalized", "supports_dsn", "monitored_condition_met"];

/// Writes all families of `reports`. Whatever the answers hold gives a page; what is not understood is left out.
pub fn write(page: &mut Page<'_>, reports: &[Report<'_>]) {
    write_version(page, reports);
    write_infos(page, reports);
    for figure in FIGURES {
        let mut family = page.family(figure.name, figure.metric_type, figure.help);
        for report in reports {
            if let Some(value) = figure_of(report.answer, figure) {
                family.sample(&[("device", report.device)], value);
            }
        }
    }
    for (name, metric_type, help, write_one) in TABLES {
        let mut family = page.family(name, *metric_type, help);
        for report in reports {
            write_one(&mut family, report);
        }
    }
}

type WriteOne = fn(&mut Family<'_>, &Report<'_>);

/// Families of several figures per disk, or of one that is put together.
const TABLES: &[(&str, MetricType, &str, WriteOne)] = &[
    ("smartctl_device_power_on_seconds", MetricType::Counter, "Time that the disk was switched on.", write_power_on),
    ("smartctl_device_block_size", MetricType::Gauge, "Bytes of a block.", write_block_sizes),
    ("smartctl_device_interface_speed", MetricType::Gauge, "Speed of the interface in bits per second.", write_speeds),
    ("smartctl_device_temperature", MetricType::Gauge, "Temperature in degrees Celsius.", write_temperatures),
    ("smartctl_device_attribute", MetricType::Gauge, "ATA attributes.", write_attributes),
    ("smartctl_device_statistics", MetricType::Gauge, "ATA device statistics.", write_statistics),
    ("smartctl_device_error_log_count", MetricType::Gauge, "Entries of the error log.", write_error_logs),
    ("smartctl_device_self_test_log_count", MetricType::Gauge, "Entries of the self-test log.", write_self_tests),
    (
        "smartctl_device_self_test_log_error_count",
        MetricType::Gauge,
        "Self-tests in the log that failed.",
        write_failed_self_tests,
    ),
    ("smartctl_device_erc_seconds", MetricType::Gauge, "Time limit of error recovery.", write_error_recovery),
];

fn write_version(page: &mut Page<'_>, reports: &[Report<'_>]) {
    let Some(report) = reports.first() else { return };
    let two = |path| {
        let numbers = at(report.answer, path).and_then(Value::as_array)?;
        Some(format!("{}.{}", numbers.first()?, numbers.get(1)?))
    };
    let (Some(json), Some(program)) = (two("json_format_version"), two("smartctl.version")) else { return };
    let labels = [
        ("json_format_version", json.as_str()),
        ("smartctl_version", program.as_str()),
        ("svn_revision", text(report.answer, "smartctl.svn_revision")),
        ("build_info", text(report.answer, "smartctl.build_info")),
    ];
    page.family("smartctl_version", MetricType::Gauge, "The smartctl that is asked.").sample(&labels, 1.0);
}

fn write_infos(page: &mut Page<'_>, reports: &[Report<'_>]) {
    let mut family = page.family("smartctl_device", MetricType::Gauge, "What the disk says of itself.");
    for report in reports {
        let known = |path| Some(text(report.answer, path)).filter(|text| !text.is_empty());
        let labels = [
            ("device", report.device),
            ("interface", text(report.answer, "device.type")),
            ("protocol", text(report.answer, "device.protocol")),
            ("model_family", known("model_family").unwrap_or("unknown")),
            ("model_name", known("model_name").or_else(|| known("scsi_model_name")).unwrap_or("unknown")),
            ("serial_number", text(report.answer, "serial_number")),
            ("ata_additional_product_id", known("ata_additional_product_id").unwrap_or("unknown")),
            ("firmware_version", text(report.answer, "firmware_version")),
            ("ata_version", text(report.answer, "ata_version.string")),
            ("sata_version", text(report.answer, "sata_version.string")),
            ("form_factor", text(report.answer, "form_factor.name")),
            ("scsi_vendor", text(report.answer, "scsi_vendor")),
            ("scsi_product", text(report.answer, "scsi_product")),
            ("scsi_revision", text(report.answer, "scsi_revision")),
            ("scsi_version", text(report.answer, "scsi_version")),
        ];
        family.sample(&labels, 1.0);
    }
}

fn write_power_on(family: &mut Family<'_>, report: &Report<'_>) {
    if let Some(hours) = number_at(report.answer, "power_on_time.hours") {
        let minutes = number_at(report.answer, "power_on_time.minutes").unwrap_or(0.0);
        family.sample(&[("device", report.device)], hours * 3600.0 + minutes * 60.0);
    }
}

fn write_block_sizes(family: &mut Family<'_>, report: &Report<'_>) {
    for (kind, path) in [("logical", "logical_block_size"), ("physical", "physical_block_size")] {
        if let Some(bytes) = number_at(report.answer, path) {
            family.sample(&[("device", report.device), ("blocks_type", kind)], bytes);
        }
    }
}

fn write_speeds(family: &mut Family<'_>, report: &Report<'_>) {
    for (kind, speed) in entries(report.answer, "interface_speed") {
        if let (Some(units), Some(bits)) = (number_at(speed, "units_per_second"), number_at(speed, "bits_per_unit")) {
            family.sample(&[("device", report.device), ("speed_type", kind)], units * bits);
        }
    }
}

fn write_temperatures(family: &mut Family<'_>, report: &Report<'_>) {
    for (kind, value) in entries(report.answer, "temperature") {
        if let Some(degrees) = number(value) {
            family.sample(&[("device", report.device), ("temperature_type", kind)], degrees);
        }
    }
}

fn write_attributes(family: &mut Family<'_>, report: &Report<'_>) {
    for row in rows(report.answer, "ata_smart_attributes.table") {
        let (flags, id) = (long_flags(row, &ATTRIBUTE_FLAGS), at(row, "id").map(Value::to_string).unwrap_or_default());
        for (kind, path) in [("value", "value"), ("worst", "worst"), ("thresh", "thresh"), ("raw", "raw.value")] {
            let Some(value) = number_at(row, path) else { continue };
            let labels = [
                ("device", report.device),
                ("attribute_name", text(row, "name")),
                ("attribute_flags_short", text(row, "flags.string")),
                ("attribute_flags_long", flags.as_str()),
                ("attribute_value_type", kind),
                ("attribute_id", id.as_str()),
            ];
            family.sample(&labels, value);
        }
    }
}

fn write_statistics(family: &mut Family<'_>, report: &Report<'_>) {
    for page in rows(report.answer, "ata_device_statistics.pages") {
        let table = text(page, "name");
        // Vendors' own statistics have no names of their own, and so would be one series.
        if table != "Vendor Specific Statistics" {
            for row in rows(page, "table") {
                let flags = long_flags(row, &STATISTIC_FLAGS);
                write_statistic(family, report, table, row, (text(row, "flags.string"), &flags));
            }
        }
    }
    for row in rows(report.answer, "sata_phy_event_counters.table") {
        write_statistic(family, report, "SATA PHY Event Counters", row, ("V---", "valid"));
    }
}

fn write_statistic(family: &mut Family<'_>, report: &Report<'_>, table: &str, row: &Value, flags: (&str, &str)) {
    if let Some(value) = number_at(row, "value") {
        let labels = [
            ("device", report.device),
            ("statistic_table", table),
            ("statistic_name", text(row, "name")),
            ("statistic_flags_short", flags.0),
            ("statistic_flags_long", flags.1),
        ];
        family.sample(&labels, value);
    }
}

fn write_error_logs(family: &mut Family<'_>, report: &Report<'_>) {
    write_entries(family, report, "ata_smart_error_log", "error_log_type", ("count", 1.0));
}

fn write_self_tests(family: &mut Family<'_>, report: &Report<'_>) {
    write_entries(family, report, "ata_smart_self_test_log", "self_test_log_type", ("count", 1.0));
}

fn write_failed_self_tests(family: &mut Family<'_>, report: &Report<'_>) {
    write_entries(family, report, "ata_smart_self_test_log", "self_test_log_type", ("error_count_total", 1.0));
}

fn write_error_recovery(family: &mut Family<'_>, report: &Report<'_>) {
    write_entries(family, report, "ata_sct_erc", "op_type", ("deciseconds", 0.1));
}

/// A figure of each entry of a map, with the entry's name as a label.
fn write_entries(family: &mut Family<'_>, report: &Report<'_>, path: &str, label: &str, (key, factor): (&str, f64)) {
    for (kind, entry) in entries(report.answer, path) {
        if let Some(value) = number_at(entry, key) {
            family.sample(&[("device", report.device), (label, kind)], value * factor);
        }
    }
}

fn figure_of(answer: &Value, figure: &Figure) -> Option<f64> {
    let value =
        figure.sources.iter().find_map(|(path, factor)| number_at(answer, path).map(|number| number * factor))?;
    (value != 0.0 || !figure.is_zero_silence).then_some(value)
}

/// What stands at a path of keys with dots between.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}

fn number_at(value: &Value, path: &str) -> Option<f64> {
    at(value, path).and_then(number)
}

/// A number, also one that smartctl writes as a text since it may not fit 64 bits; of yes and no 1 and 0.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::Bool(is) => Some(f64::from(u8::from(*is))),
        Value::String(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

/// A text without white space around it; "" if there is none.
fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    at(value, path).and_then(Value::as_str).unwrap_or_default().trim()
}

fn rows<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    at(value, path).and_then(Value::as_array).into_iter().flatten().take(ROWS_MAX)
}

fn entries<'a>(value: &'a Value, path: &str) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
    let entries = at(value, path).and_then(Value::as_object).into_iter().flatten();
    entries.take(ROWS_MAX).map(|(key, value)| (key.as_str(), value))
}

fn long_flags(row: &Value, known: &[&str]) -> String {
    let flags = row.get("flags");
    let is_set = |flag: &&&str| flags.and_then(|flags| flags.get(**flag)).and_then(Value::as_bool) == Some(true);
    known.iter().filter(is_set).copied().collect::<Vec<_>>().join(",")
}
