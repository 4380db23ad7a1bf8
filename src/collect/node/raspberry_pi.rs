//! What a Raspberry Pi's firmware and device tree say: supply voltage, throttling, model and revision.
//!
//! node_exporter has nothing of it; the names are outpost's own. Sources: the documentation of `vcgencmd get_throttled` for the
//! bits, the driver rpi_volt for the alarm, and the Raspberry Pi documentation's table of revision codes.

use super::super::page::Page;
use super::host::{Host, NodeError, names, read_number, read_word};
use crate::model::MetricType::Gauge;

/// Bit now, bit since the boot, and the condition.
const CONDITIONS: [(u32, u32, &str); 4] =
    [(0, 16, "under_voltage"), (1, 17, "frequency_capped"), (2, 18, "throttled"), (3, 19, "soft_temperature_limit")];

pub(super) fn collect(host: &Host, page: &mut Page<'_>) -> Result<(), NodeError> {
    let text = |file: &str| {
        let word = read_word(&host.sys_path(&format!("firmware/devicetree/base/{file}")))?;
        Some(word.trim_end_matches('\0').to_owned())
    };
    let model = text("model").filter(|model| model.contains("Raspberry Pi")).ok_or(NodeError::Nothing)?;
    let revision = read_revision(host);
    let serial = text("serial-number").unwrap_or_default();
    page.family("node_raspberry_pi_info", Gauge, "The board's model, revision code and serial number.")
        .sample(&[("model", &model), ("revision", &revision), ("serial", &serial)], 1.0);
    let alarm = under_voltage(host);
    let Some(bits) = throttled(host) else {
        if let Some(alarm) = alarm {
            page.gauge("node_raspberry_pi_under_voltage", UNDER_VOLTAGE, alarm);
        }
        return Ok(());
    };
    let is_set = |bit: u32| f64::from(bits >> bit & 1);
    // The driver's alarm also remembers what was between two readings.
    page.gauge("node_raspberry_pi_under_voltage", UNDER_VOLTAGE, alarm.unwrap_or(0.0).max(is_set(0)));
    let mut family = page.family("node_raspberry_pi_condition", Gauge, "What holds the board back now.");
    for (now, _, condition) in CONDITIONS {
        family.sample(&[("condition", condition)], is_set(now));
    }
    let mut family =
        page.family("node_raspberry_pi_condition_since_boot", Gauge, "What has held the board back since the boot.");
    for (_, since, condition) in CONDITIONS {
        family.sample(&[("condition", condition)], is_set(since));
    }
    Ok(())
}

const UNDER_VOLTAGE: &str = "Whether the supply's voltage is too low: 4.63 V at the board.";

/// The firmware's bits; the file is hexadecimal, without a mark. The firmware's device is named differently on each board.
fn throttled(host: &Host) -> Option<u32> {
    let driver = host.sys_path("bus/platform/drivers/raspberrypi-firmware");
    let word = names(&driver).iter().find_map(|device| read_word(&driver.join(device).join("get_throttled")))?;
    u32::from_str_radix(word.trim_start_matches("0x"), 16).ok()
}

/// The alarm of the driver rpi_volt, which asks the firmware every two seconds.
fn under_voltage(host: &Host) -> Option<f64> {
    let class = host.sys_path("class/hwmon");
    let chip = names(&class)
        .into_iter()
        .find(|name| read_word(&class.join(name).join("name")).as_deref() == Some("rpi_volt"))?;
    read_number(&class.join(chip).join("in0_lcrit_alarm"))
}

/// Four bytes, the highest first; shown as in `/proc/cpuinfo`, in hexadecimal.
fn read_revision(host: &Host) -> String {
    let bytes = std::fs::read(host.sys_path("firmware/devicetree/base/system/linux,revision")).unwrap_or_default();
    <[u8; 4]>::try_from(bytes).map_or_else(|_| String::new(), |bytes| format!("{:x}", u32::from_be_bytes(bytes)))
}
