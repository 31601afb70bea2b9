//! Templates made here; the models' own are compared with transformers in the tests crate.

use super::*;

fn render(source: &str, messages: &[Message]) -> Result<String> {
    let limits = Limits::default();
    let template = ChatTemplate::new(Path::new("m"), source, "<s>", "</s>", &limits)?;
    let now = SystemTime::UNIX_EPOCH;
    template.render(messages, &Settings { now, ..Settings::default() })
}

#[test]
fn blocks_are_trimmed_and_tokens_known() {
    let source = "{{ bos_token }}\n{%- for m in messages %}\n  {% if m['role'] == 'user' %}\n\
                  [{{ m.content.strip() | upper }}]\n  {% endif %}\n{% endfor %}\n\
                  {% if add_generation_prompt %}>{% endif %}\n";
    let found = render(source, &[Message::new("user", " hi "), Message::new("other", "x")]);
    assert_eq!(found.unwrap(), "<s>[HI]\n>");
}

#[test]
fn what_transformers_adds_is_there() {
    let message = [Message::new("user", "a<b>\"é")];
    assert_eq!(
        render("{{ messages | tojson }}", &message).unwrap(),
        r#"[{"role": "user", "content": "a<b>\"é"}]"#
    );
    assert_eq!(
        render("{{ {'b': 1, 'a': [true, none]} | tojson(indent=2, sort_keys=true) }}", &[])
            .unwrap(),
        "{\n  \"a\": [\n    true,\n    null\n  ],\n  \"b\": 1\n}"
    );
    assert_eq!(render("{{ 'é' | tojson(ensure_ascii=true) }}", &[]).unwrap(), "\"\\u00e9\"");
    assert_eq!(render("{{ strftime_now('%d %b %Y') }}", &[]).unwrap(), "01 Jan 1970");
    assert_eq!(render("{{ true }} {{ none }} {{ tools is none }}", &[]).unwrap(), "True None True");
    assert_eq!(
        render(
            "{% for x in [1, 2, 3] %}{% if x == 2 %}{% continue %}{% endif %}{{ x }}\
                       {% endfor %}",
            &[]
        )
        .unwrap(),
        "13"
    );
    assert_eq!(render("a {%- generation %} b {% endgeneration -%} c", &[]).unwrap(), "a b c");
    let error = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
    assert!(error.to_string().contains("roles must alternate"), "{error}");
}

#[test]
fn broken_and_endless_templates_end() {
    let error = render("\n{% if %}", &[]).unwrap_err().to_string();
    assert!(error.contains("tokenizer.chat_template, line 2"), "{error}");
    let endless = "{% for a in range(90000) %}{% for b in range(90000) %}x{% endfor %}{% endfor %}";
    let limits = Limits { template_fuel: 100_000, ..Limits::default() };
    let template = ChatTemplate::new(Path::new("m"), endless, "", "", &limits).unwrap();
    assert!(template.render(&[], &Settings::default()).is_err());
    assert!(render("{% include 'x' %}", &[]).is_err());
}
