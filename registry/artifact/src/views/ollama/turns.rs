//! Conversations as turns: the few texts that stand before, between and behind what is said.
//!
//! Almost every chat template is that. In this form it can be written as a Go template, and rendered here to compare.

use std::fmt::Write as _;

use mdl_formats::template::Message;

/// What stands around messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turns<'a> {
    /// Before the first question, without a system message.
    pub(super) begin: &'a str,
    /// Before and behind a system message, up to the first question.
    pub(super) system: [&'a str; 2],
    /// From a question to its answer.
    pub(super) answer: &'a str,
    /// From an answer to the next question.
    pub(super) question: &'a str,
    /// Behind the last question, where the answer is to begin.
    pub(super) last: &'a str,
}

impl Turns<'_> {
    /// The text for a conversation of user and assistant by turns, perhaps with a system message first.
    pub(super) fn render(&self, messages: &[Message]) -> String {
        let system = messages.iter().find(|it| it.role == "system");
        let mut text = match system {
            Some(it) => [self.system[0], &it.content, self.system[1]].concat(),
            None => self.begin.to_owned(),
        };
        let said: Vec<&Message> = messages.iter().filter(|it| it.role != "system").collect();
        for (index, message) in said.iter().enumerate() {
            let is_last = index + 1 == said.len();
            if message.role == "assistant" {
                text.push_str(&message.content);
                continue;
            }
            if index > 0 {
                text.push_str(self.question);
            }
            text.push_str(&message.content);
            text.push_str(if is_last { self.last } else { self.answer });
        }
        text
    }

    /// The same as a Go template in Ollama's variables. What tools say is given like questions.
    pub(super) fn go(&self) -> String {
        let [before, behind] = self.system.map(literal);
        let (begin, answer) = (literal(self.begin), literal(self.answer));
        let (question, last) = (literal(self.question), literal(self.last));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{{{{ if .System }}}}{before}{{{{ .System }}}}{behind}{{{{ else }}}}{begin}{{{{ end }}}}\
             {{{{ $begun := false }}}}{{{{ range $i, $_ := .Messages }}}}\
             {{{{ if or (eq .Role \"user\") (eq .Role \"tool\") }}}}\
             {{{{ if $begun }}}}{question}{{{{ end }}}}{{{{ $begun = true }}}}{{{{ .Content }}}}\
             {{{{ if eq (len (slice $.Messages $i)) 1 }}}}{last}{{{{ else }}}}{answer}{{{{ end }}}}\
             {{{{ else if eq .Role \"assistant\" }}}}{{{{ $begun = true }}}}{{{{ .Content }}}}\
             {{{{ end }}}}{{{{ end }}}}"
        );
        text
    }
}

/// Text as it stands in a Go template: itself, or where it would be taken for an action, a quoted string.
fn literal(text: &str) -> String {
    if text.contains("{{") || text.contains("}}") || text.ends_with('{') || text.starts_with('}') {
        // JSON's strings are Go's as well.
        let quoted = serde_json::Value::from(text).to_string();
        return format!("{{{{ {quoted} }}}}");
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_quoted() {
        assert_eq!(literal("<|user|>\n"), "<|user|>\n");
        assert_eq!(literal("{{ \"x\" }}\n"), r#"{{ "{{ \"x\" }}\n" }}"#);
        assert_eq!(literal("a{"), r#"{{ "a{" }}"#);
    }
}
