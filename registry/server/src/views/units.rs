//! Numbers as people read them.

use std::fmt;

/// A number of bytes, with binary units.
pub(crate) struct Size(pub(crate) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut value = self.0 as f64;
        let mut unit = "B";
        for next in ["KiB", "MiB", "GiB", "TiB"] {
            if value < 1024.0 {
                break;
            }
            value /= 1024.0;
            unit = next;
        }
        match unit {
            "B" => write!(f, "{} B", self.0),
            _ if value < 10.0 => write!(f, "{value:.2} {unit}"),
            _ => write!(f, "{value:.1} {unit}"),
        }
    }
}

/// A number of parameters.
pub(crate) fn count(parameters: u64) -> String {
    match parameters {
        0..1_000 => parameters.to_string(),
        1_000..1_000_000 => format!("{:.1} K", parameters as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} M", parameters as f64 / 1e6),
        _ => format!("{:.2} B", parameters as f64 / 1e9),
    }
}

/// A whole number with its thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A measured figure: four significant digits, small ones in powers of ten.
pub(crate) fn figure(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    match size {
        s if s >= 1000.0 => format!("{value:.0}"),
        s if s >= 100.0 => format!("{value:.1}"),
        s if s >= 10.0 => format!("{value:.2}"),
        s if s >= 1.0 => format!("{value:.3}"),
        s if s >= 0.001 => format!("{value:.5}"),
        _ => format!("{value:.2e}"),
    }
}

/// A day, from seconds since 1970.
pub(crate) struct Day {
    year: u64,
    month: u64,
    of_month: u64,
    second: u64,
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

impl Day {
    /// The day of a moment, by the Gregorian calendar in UTC.
    pub(crate) fn of(seconds: u64) -> Self {
        // Days since 1 March of the year 0, in eras of 400 years of 146,097 days.
        let days = (seconds / 86_400).min(1 << 40) + 719_468;
        let (era, day_of_era) = (days / 146_097, days % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted + 2) / 5 + 1;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        Self { year, month, of_month: day, second: seconds % 86_400 }
    }

    /// `26 Nov 2026`
    pub(crate) fn shown(&self) -> String {
        let month = MONTHS.get(self.month as usize - 1).copied().unwrap_or_default();
        format!("{} {month} {}", self.of_month, self.year)
    }

    /// `2026-11-26T10:00:00.000Z`
    pub(crate) fn timestamp(&self) -> String {
        let Self { year, month, of_month: day, second } = self;
        let (hour, minute) = (second / 3600, second / 60 % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.000Z", second % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(Size(999).to_string(), "999 B");
        assert_eq!(Size(98 << 20).to_string(), "98.0 MiB");
        assert_eq!(Size(5_368_709_120).to_string(), "5.00 GiB");
        assert_eq!(count(134_515_008), "134.5 M");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
        assert_eq!(figure(0.012_34), "0.01234");
        assert_eq!(figure(0.000_012_3), "1.23e-5");
        assert_eq!(figure(17.249), "17.25");
    }

    #[test]
    fn days_follow_the_calendar() {
        for (seconds, shown, stamp) in [
            (0, "1 Jan 1970", "1970-01-01T00:00:00.000Z"),
            (951_782_400, "29 Feb 2000", "2000-02-29T00:00:00.000Z"),
            (1_795_689_105, "26 Nov 2026", "2026-11-26T10:31:45.000Z"),
            (4_107_542_400, "1 Mar 2100", "2100-03-01T00:00:00.000Z"),
        ] {
            let day = Day::of(seconds);
            assert_eq!((day.shown().as_str(), day.timestamp().as_str()), (shown, stamp));
        }
        let _ = Day::of(u64::MAX).timestamp();
    }
}
