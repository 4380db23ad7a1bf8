//! Under-voltage and throttling of a Raspberry Pi, as its firmware reports them.

use super::host::Host;
use crate::commands::finding::Finding;

const SUBJECT: &str = "power";

/// The firmware's driver: below it is the device, whatever its name is on the board.
const FIRMWARE: &str = "bus/platform/drivers/raspberrypi-firmware";
/// The device's own place on most boards.
const DEVICE: &str = "devices/platform/soc/soc:firmware";

/// Nothing on machines without that firmware.
pub fn look(host: &Host) -> Vec<Finding> {
    let devices = host.sys_folder(FIRMWARE).into_iter().chain([DEVICE.to_owned()]);
    let flags = devices.into_iter().find_map(|device| host.sys(&format!("{device}/get_throttled")));
    let flags = flags.and_then(|text| parse_flags(&text));
    // The driver rpi_volt has one alarm: set for as long as the voltage is too low.
    let is_low = host.sys_folder("class/hwmon").iter().find_map(|chip| {
        let name = host.sys(&format!("{chip}/name"))?;
        (name == "rpi_volt").then(|| host.sys(&format!("{chip}/in0_lcrit_alarm")).is_some_and(|alarm| alarm != "0"))
    });
    match (flags, is_low) {
        (None, None) => Vec::new(),
        (None, Some(false)) => vec![Finding::good(SUBJECT, "the voltage is right now; what was before is not known")],
        (flags, is_low) => vec![judged(flags.unwrap_or(0), is_low.unwrap_or(false))],
    }
}

/// Bits of `vcgencmd get_throttled`: 0 under-voltage now, 1 frequency capped now, 2 throttled now, 3 soft temperature limit
/// now; 16 higher for what has been since the start.
fn judged(flags: u32, is_low: bool) -> Finding {
    const WHY: &str = "cards are damaged and writes are lost when the voltage drops while they write";
    const MEND: &str = "use the power supply that belongs to the board and a short cable; then look again: \
                        vcgencmd get_throttled";
    const COOL: &str = "give the board a heat sink or a fan; vcgencmd measure_temp shows the temperature";
    let has = |bit: u32| flags & (1 << bit) != 0;
    if is_low || has(0) {
        Finding::problem(SUBJECT, "the voltage is too low", WHY, MEND)
    } else if has(16) {
        Finding::warning(SUBJECT, "the voltage was too low at least once since the start", WHY, MEND)
    } else if [1, 2, 3, 17, 18, 19].into_iter().any(has) {
        let what = "the processor is or was slowed down for its temperature";
        Finding::warning(SUBJECT, what, "scrapes and queries take longer than they need to", COOL)
    } else {
        Finding::good(SUBJECT, "neither under-voltage nor throttling since the start")
    }
}

/// The driver writes hexadecimal, with or without `0x`.
fn parse_flags(text: &str) -> Option<u32> {
    u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::super::host::tests::made;
    use super::look;
    use crate::commands::finding::Severity;

    #[test]
    fn the_firmware_s_flags_are_read() {
        let cases = [
            ("50005", Severity::Problem, "too low"),
            ("0x50000", Severity::Warning, "was too low"),
            ("80008", Severity::Warning, "temperature"),
            ("0", Severity::Good, "neither"),
        ];
        for (flags, severity, word) in cases {
            let (_folder, host) = made(&[("sys/devices/platform/soc/soc:firmware/get_throttled", flags)]);
            let found = look(&host).remove(0);
            assert_eq!(found.severity, severity, "{flags}");
            assert!(found.what.contains(word), "{flags}: {}", found.what);
        }
    }

    #[test]
    fn the_firmware_is_found_under_any_name() {
        let path = "sys/bus/platform/drivers/raspberrypi-firmware/soc@107c000000:firmware/get_throttled";
        let (_folder, host) = made(&[("sys/bus/platform/drivers/raspberrypi-firmware/uevent", ""), (path, "1")]);
        assert_eq!(look(&host)[0].severity, Severity::Problem);
    }

    #[test]
    fn the_voltage_sensor_alone_is_enough_and_other_machines_have_neither() {
        let chip =
            |alarm| [("sys/class/hwmon/hwmon1/name", "rpi_volt\n"), ("sys/class/hwmon/hwmon1/in0_lcrit_alarm", alarm)];
        let (_folder, host) = made(&chip("1\n"));
        assert_eq!(look(&host)[0].severity, Severity::Problem);
        let (_folder, host) = made(&chip("0\n"));
        assert_eq!(look(&host)[0].severity, Severity::Good);
        let (_folder, host) = made(&[("sys/class/hwmon/hwmon0/name", "coretemp")]);
        assert_eq!(look(&host), []);
    }
}
