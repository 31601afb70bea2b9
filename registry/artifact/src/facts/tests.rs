//! Facts there and back.

use super::*;

#[test]
fn annotations_give_back_what_they_were_made_of() {
    let facts = Facts {
        format: Some("gguf".into()),
        name: Some("A model".into()),
        architecture: Some("llama".into()),
        parameters: Some(134_515_008),
        tensor_bytes: Some(98_000_000),
        bits_per_weight: Some(5.828_402_1),
        quantization: Some("Q4_K_M".into()),
        context_length: Some(8192),
        layers: Some(30),
        embedding_length: Some(576),
        vocabulary: Some(49152),
        tokenizer: Some("gpt2".into()),
        pre_tokenizer: Some("smollm".into()),
        chat_template: Some(true),
        license: Some("apache-2.0".into()),
        base_models: vec!["org/base".into()],
        languages: vec!["en".into()],
        types: vec![TypeShare { ty: "Q4_K".into(), tensors: 3, parameters: 7, bytes: 9 }],
        evaluation: Some(Evaluation {
            perplexity: 12.5,
            same_top: Some(0.9),
            ..Evaluation::default()
        }),
        ..Facts::default()
    };
    assert_eq!(Facts::from_annotations(&facts.annotations()), facts);
    assert!(Facts::default().annotations().is_empty());
    let wrong = [
        ("org.mdl.parameters", "many"),
        ("org.mdl.types", "{"),
        ("org.mdl.bits-per-weight", "NaN"),
    ];
    let wrong = wrong.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(Facts::from_annotations(&wrong.into()), Facts::default());
}

#[test]
fn sizes_are_said_as_people_say_them() {
    for (parameters, label) in [
        (900, "0.9K"),
        (260_032, "260K"),
        (134_515_008, "135M"),
        (8_030_261_248, "8.0B"),
        (70_553_706_560, "71B"),
    ] {
        let facts = Facts { parameters: Some(parameters), ..Facts::default() };
        assert_eq!(facts.size_label().as_deref(), Some(label));
    }
}

#[test]
fn reports_are_checked_to_be_reports() {
    let figure = |value: f64| serde_json::json!({ "value": value, "error": 0.5 });
    let report = serde_json::json!({
        "version": 1, "context": 512, "chunks": 3, "tokens": 765, "perplexity": figure(12.0), "gates": [],
        "divergence": {
            "perplexity_base": figure(11.0), "perplexity_ratio": figure(1.09), "same_top": figure(0.93),
            "kld": { "mean": figure(0.02), "median": 0.01, "p99": 0.2, "p99_9": 0.3, "maximum": 0.4 },
        },
    });
    let limits = Limits::default();
    let found = Evaluation::read(report.to_string().as_bytes(), &limits).unwrap();
    assert_eq!(found.divergence.map(|it| (it.mean, it.p99)), Some((0.02, 0.2)));
    assert_eq!((found.perplexity, found.same_top), (12.0, Some(0.93)));
    let mut plain = report.clone();
    plain.as_object_mut().unwrap().remove("divergence");
    assert_eq!(Evaluation::read(plain.to_string().as_bytes(), &limits).unwrap().same_top, None);
    plain["version"] = 2.into();
    for bad in ["", "{}", "{\"version\": 1}", &plain.to_string()] {
        let error = Evaluation::read(bad.as_bytes(), &limits).unwrap_err().to_string();
        assert!(error.starts_with("not an evaluation report: "), "{error}");
    }
}
