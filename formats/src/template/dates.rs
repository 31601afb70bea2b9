//! `strftime_now`: the letters that chat templates use, in UTC.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::{Error, ErrorKind};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
/// The first of January 1970 was a Thursday.
const DAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];

/// Year, month and day of a number of days since 1970, in the Gregorian calendar.
fn civil(days: u64) -> (u64, usize, u64) {
    // Years begin in March here, so that the leap day is the last; eras are of 400 years.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year + u64::from(month <= 2), month as usize, day)
}

/// The time by Python's `strftime`.
pub(super) fn format(now: SystemTime, format: &str) -> Result<String, Error> {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs());
    // Beyond the year 9999 nothing is meant.
    let seconds = seconds.min(253_402_300_799);
    let days = seconds / 86400;
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let month_name = MONTHS.get(month.wrapping_sub(1)).copied().unwrap_or_default();
    let day_name = DAYS.get((days % 7) as usize).copied().unwrap_or_default();
    let mut out = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let mut letter = letters.next();
        let padded = letter != Some('-');
        if !padded {
            letter = letters.next();
        }
        let number = |value: u64| if padded { format!("{value:02}") } else { value.to_string() };
        out.push_str(&match letter {
            Some('Y') => year.to_string(),
            Some('y') => number(year % 100),
            Some('m') => number(month as u64),
            Some('d') => number(day),
            Some('H') => number(hour),
            Some('I') => number((hour + 11) % 12 + 1),
            Some('M') => number(minute),
            Some('S') => number(second),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_owned(),
            Some('B') => month_name.to_owned(),
            Some('b') => month_name.chars().take(3).collect(),
            Some('A') => day_name.to_owned(),
            Some('a') => day_name.chars().take(3).collect(),
            Some('%') => "%".to_owned(),
            other => {
                let problem = format!("strftime_now does not know %{}", other.unwrap_or(' '));
                return Err(Error::new(ErrorKind::InvalidOperation, problem));
            }
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let whole = "%A %a %d %B %b %Y-%m %H:%M:%S %I%p %-d %y %%";
        let found = format(at(1_709_210_096), whole).unwrap();
        assert_eq!(found, "Thursday Thu 29 February Feb 2024-02 12:34:56 12PM 29 24 %");
        assert_eq!(format(at(0), "%d %b %Y %a").unwrap(), "01 Jan 1970 Thu");
        assert_eq!(format(at(951_868_799), "%Y-%m-%d").unwrap(), "2000-02-29");
        assert_eq!(format(at(4_107_542_400), "%Y-%m-%d").unwrap(), "2100-03-01");
        assert!(format(at(0), "%Q").is_err());
    }
}
