//! Which part of a blob a request asks for (RFC 9110, sections 13 and 14).

use http::{HeaderMap, HeaderValue, header};

/// What to answer with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// From the first of these bytes up to before the second.
    Some(u64, u64),
    /// The range lies outside.
    Outside,
    /// The client has it already.
    Known,
}

/// The headers that decide.
#[derive(Debug, Clone, Default)]
pub(crate) struct Conditions {
    range: Option<HeaderValue>,
    if_range: Option<HeaderValue>,
    if_none_match: Vec<HeaderValue>,
}

impl Conditions {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            range: headers.get(header::RANGE).cloned(),
            if_range: headers.get(header::IF_RANGE).cloned(),
            if_none_match: headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect(),
        }
    }

    /// What to answer with for content of `size` bytes under this tag.
    pub(crate) fn part(&self, size: u64, etag: &str) -> Part {
        if self.if_none_match.iter().any(|value| matches(value, etag)) {
            return Part::Known;
        }
        let Some(range) = &self.range else { return Part::Whole };
        // Only a strong tag that is ours lets a range stand; a date never does, for we state none.
        if self.if_range.as_ref().is_some_and(|value| value.as_bytes() != etag.as_bytes()) {
            return Part::Whole;
        }
        range.to_str().map_or(Part::Whole, |range| read(range, size))
    }
}

/// Whether one of the tags is this one; weak comparison.
fn matches(value: &HeaderValue, etag: &str) -> bool {
    let text = value.to_str().unwrap_or_default();
    text.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

/// One range of bytes. What is no range is passed over, as is a list of several: the whole is a right answer to both.
fn read(text: &str, size: u64) -> Part {
    let Some((unit, range)) = text.split_once('=') else { return Part::Whole };
    if !unit.trim().eq_ignore_ascii_case("bytes") || range.contains(',') {
        return Part::Whole;
    }
    let Some((first, last)) = range.trim().split_once('-') else { return Part::Whole };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (first, last) = (first.trim(), last.trim());
    if !digits(first) || !digits(last) {
        return Part::Whole;
    }
    // A number too large for us is beyond any end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    match (first, last) {
        ("", "") => Part::Whole,
        ("", length) => match number(length) {
            0 => Part::Outside,
            _ if size == 0 => Part::Outside,
            length => Part::Some(size.saturating_sub(length), size),
        },
        (first, "") if number(first) < size => Part::Some(number(first), size),
        (_, "") => Part::Outside,
        // A range that ends before it begins holds no byte: the conformance suite asks for a refusal.
        (first, last) if number(last) < number(first) => Part::Outside,
        (first, last) if number(first) < size => {
            Part::Some(number(first), number(last).saturating_add(1).min(size))
        }
        _ => Part::Outside,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_answered() {
        for (text, part) in [
            ("bytes=0-0", Part::Some(0, 1)),
            ("bytes=0-99", Part::Some(0, 100)),
            ("bytes=10-", Part::Some(10, 100)),
            ("Bytes = 10-19", Part::Some(10, 20)),
            ("bytes=90-1000", Part::Some(90, 100)),
            ("bytes=90-99999999999999999999", Part::Some(90, 100)),
            ("bytes=-10", Part::Some(90, 100)),
            ("bytes=-1000", Part::Some(0, 100)),
            ("bytes=100-", Part::Outside),
            ("bytes=100-200", Part::Outside),
            ("bytes=99999999999999999999-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=5-4", Part::Outside),
            ("bytes=-", Part::Whole),
            ("bytes=", Part::Whole),
            ("bytes=a-b", Part::Whole),
            ("bytes=+1-2", Part::Whole),
            ("bytes=--1", Part::Whole),
            ("bytes=0-1,5-6", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("0-1", Part::Whole),
        ] {
            assert_eq!(read(text, 100), part, "{text}");
        }
        for text in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(read(text, 0), Part::Outside, "{text}");
        }
    }

    #[test]
    fn conditions_decide_first() {
        let part = |pairs: &[(http::HeaderName, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(name, HeaderValue::from_static(value));
            }
            Conditions::of(&headers).part(100, "\"a\"")
        };
        let range = (header::RANGE, "bytes=0-9");
        assert_eq!(part(&[]), Part::Whole);
        assert_eq!(part(std::slice::from_ref(&range)), Part::Some(0, 10));
        assert_eq!(part(&[range.clone(), (header::IF_RANGE, "\"a\"")]), Part::Some(0, 10));
        assert_eq!(part(&[range.clone(), (header::IF_RANGE, "\"b\"")]), Part::Whole);
        assert_eq!(part(&[range.clone(), (header::IF_RANGE, "W/\"a\"")]), Part::Whole);
        assert_eq!(part(&[range, (header::IF_NONE_MATCH, "\"b\", W/\"a\"")]), Part::Known);
        assert_eq!(part(&[(header::IF_NONE_MATCH, "*")]), Part::Known);
        assert_eq!(part(&[(header::IF_NONE_MATCH, "\"b\"")]), Part::Whole);
    }
}
