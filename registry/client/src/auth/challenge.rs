//! `WWW-Authenticate`: what a server wants to see.

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Challenge {
    /// In lower case.
    pub(crate) scheme: String,
    /// Names in lower case.
    params: Vec<(String, String)>,
}

impl Challenge {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Parameters that one header may hold; more are left out.
const KEPT: usize = 64;

/// Reads a header, which may hold several challenges. What does not fit the grammar ends the reading: what was read
/// before stands.
pub(crate) fn parse(header: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = header.trim_start();
    let mut read = 0;
    while !rest.is_empty() && read < KEPT {
        read += 1;
        let Some((word, after)) = token(rest) else { break };
        let blank = after.trim_start_matches([' ', '\t']);
        if let Some(value) = blank.strip_prefix('=')
            && let Some(challenge) = found.last_mut()
        {
            let Some((value, after)) = value_of(value.trim_start_matches([' ', '\t'])) else {
                break;
            };
            challenge.params.push((word.to_ascii_lowercase(), value));
            rest = after.trim_start_matches([' ', '\t', ',']);
        } else {
            found.push(Challenge { scheme: word.to_ascii_lowercase(), params: Vec::new() });
            rest = blank.trim_start_matches([' ', '\t', ',']);
        }
    }
    found
}

fn token(text: &str) -> Option<(&str, &str)> {
    let mark = |c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c));
    let end = text.find(mark).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Some servers leave the quotes out.
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, quoted.get(at + 1..)?)),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_challenge_as_registries_write_it() {
        let header = r#"Bearer realm="https://auth.example/token",service="reg,istry",scope="repository:a/b:pull,push",error="invalid \"token\"""#;
        let [challenge] = &parse(header)[..] else { panic!() };
        assert_eq!(challenge.scheme, "bearer");
        assert_eq!(challenge.get("realm"), Some("https://auth.example/token"));
        assert_eq!(challenge.get("service"), Some("reg,istry"));
        assert_eq!(challenge.get("scope"), Some("repository:a/b:pull,push"));
        assert_eq!(challenge.get("error"), Some(r#"invalid "token""#));
    }

    #[test]
    fn several_in_one_header_and_loose_spelling() {
        let found = parse(r#"Negotiate, Basic realm=plain, BEARER  Realm = "r" , service=s"#);
        let schemes: Vec<&str> = found.iter().map(|one| one.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "basic", "bearer"]);
        assert_eq!(found[1].get("realm"), Some("plain"));
        assert_eq!(found[2].get("realm"), Some("r"));
        assert_eq!(found[2].get("service"), Some("s"));
    }

    #[test]
    fn nonsense_ends_and_does_not_hang() {
        for header in ["", ",,,", "Bearer realm=\"open", "=", "Bearer =", "\u{fc}", "Bearer a=\"\\"]
        {
            let _ = parse(header);
        }
        let long = format!("Bearer {}", "a=\"b\",".repeat(10_000));
        assert!(parse(&long)[0].params.len() < KEPT);
    }
}
