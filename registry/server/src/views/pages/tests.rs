//! The pages as they come out, for models that stand for what people push and for what an attacker would.

use askama::Template as _;
use mdl_store::{Digest, Name};

use super::{
    super::origin::Origin,
    card, commands, plot,
    template::{
        Entry, Evaluation, FileRow, Frame, Home, Model, Problem, ReferrerRow, Repository, TagRow,
        TypeRow,
    },
};

const HOSTILE: &str = "<script>alert('1')</script>\"'&";

fn origin() -> Origin {
    Origin { host: "127.0.0.1:5050".to_owned(), secure: false }
}

fn frame(query: &str) -> Frame {
    Frame {
        host: origin().host,
        query: query.to_owned(),
        style: "/-/style.css".to_owned(),
        version: "1.0",
    }
}

fn entry(text: &str) -> Entry {
    Entry {
        repo: "smollm/smollm2-135m-instruct".to_owned(),
        title: text.to_owned(),
        facts: vec![("Family", "llama".to_owned()), ("Parameters", "134.5 M".to_owned())],
        tags: vec!["latest".to_owned(), "q4_k_m".to_owned()],
        more_tags: 3,
    }
}

fn commands(repo: &Name) -> Vec<commands::Command> {
    let subject = commands::Subject {
        repo,
        tag: Some("latest"),
        digest: "",
        commit: "",
        is_main: true,
        gguf: Some("smollm2-135m-instruct-q4_k_m.gguf"),
        is_folder: false,
    };
    commands::pull(&origin(), &subject)
}

fn evaluation() -> Evaluation {
    let points = [
        ("min", 0.0),
        ("1", 1e-5),
        ("5", 7e-5),
        ("10", 2e-4),
        ("25", 9e-4),
        ("50", 0.0042),
        ("75", 0.014),
        ("90", 0.038),
        ("95", 0.07),
        ("99", 0.21),
        ("99.9", 0.8),
        ("max", 3.2),
    ];
    Evaluation {
        figures: vec![
            ("Mean KL divergence", "0.01621 ± 0.00020".to_owned()),
            ("Same top token", "94.8 % ± 0.1".to_owned()),
            ("Perplexity", "17.25 ± 0.31".to_owned()),
            ("Perplexity of the original", "17.02 ± 0.30".to_owned()),
        ],
        plot: plot::percentiles("kld", "KL divergence by percentile", "nats", &points),
        protocol: "40 chunks of 512 tokens; 10,240 positions scored.".to_owned(),
    }
}

fn model(text: &str) -> Model {
    let repo: Name = "smollm/smollm2-135m-instruct".parse().unwrap();
    let digest = Digest::of(b"model").to_string();
    let row = |name: &str, share: f64| TypeRow {
        name: name.to_owned(),
        tensors: "120".to_owned(),
        parameters: "90.2 M".to_owned(),
        size: "51.0 MiB".to_owned(),
        share: format!("{share:.1}"),
        percent: format!("{share:.0} %"),
    };
    let file = |name: &str, kind| FileRow {
        name: name.to_owned(),
        kind,
        size: "98.4 MiB".to_owned(),
        href: format!("/v2/{repo}/blobs/{digest}"),
        download: name.to_owned(),
        digest: digest.clone(),
        short: "93ab…".to_owned(),
    };
    Model {
        frame: frame(""),
        repo: repo.to_string(),
        mark: ":",
        short: "latest".to_owned(),
        about: text.to_owned(),
        warnings: vec![format!("The repository lacks a blob. {text}")],
        commands: commands(&repo),
        facts: vec![
            ("Family", "llama".to_owned()),
            ("Parameters", "134.5 M".to_owned()),
            ("Bits per weight", "6.14".to_owned()),
            ("Quantization", "Q4_K_M".to_owned()),
            ("Size", "98.4 MiB".to_owned()),
            ("Context", "8,192 tokens".to_owned()),
            ("Licence", text.to_owned()),
        ],
        day: "26 Nov 2026".to_owned(),
        stamp: "2026-11-26T10:31:45.000Z".to_owned(),
        digest: digest.clone(),
        evaluation: Some(evaluation()),
        types: vec![row("Q4_K", 61.2), row("Q6_K", 30.1), row("F32", 8.7)],
        files: vec![
            file("smollm2-135m-instruct-q4_k_m.gguf", "weights"),
            file(&format!("README {text}.md"), "doc"),
        ],
        more_files: 0,
        recipe: Some(format!("scheme = \"Q4_K_M\" # {text}")),
        referrers: vec![ReferrerRow {
            name: format!("evaluation report {text}"),
            size: "3.1 KiB".to_owned(),
            href: format!("/v2/{repo}/manifests/{digest}"),
            digest: digest.clone(),
            short: "93ab…".to_owned(),
        }],
        card: Some(card::render(&format!(
            "# SmolLM2\n\nA compact model for [devices](https://example.org). {text}\n\n\
             ## Use\n\n```python\nfrom transformers import AutoTokenizer\n```\n\n| Task | Score |\n|---|---|\n| IFEval | 29.9 |\n"
        ))),
        card_cut: false,
    }
}

#[test]
fn pages_look_as_before() {
    let home = Home {
        frame: frame(""),
        entries: vec![entry("A compact model"), entry("")],
        continued: false,
        next: Some("/?after=smollm%2Fx".to_owned()),
        commands: Vec::new(),
    };
    insta::assert_snapshot!("home", home.render().unwrap());
    let empty = Home {
        frame: frame(""),
        entries: Vec::new(),
        continued: false,
        next: None,
        commands: commands::push(&origin()),
    };
    insta::assert_snapshot!("home_empty", empty.render().unwrap());
    let none = Home { frame: frame("llama"), ..empty };
    insta::assert_snapshot!("home_nothing_found", none.render().unwrap());
    insta::assert_snapshot!("repository", repository("A compact model").render().unwrap());
    insta::assert_snapshot!("model", model("A compact model").render().unwrap());
}

fn repository(text: &str) -> Repository {
    let repo: Name = "smollm/smollm2-135m-instruct".parse().unwrap();
    let row = |tag: &str, size: &str, divergence: &str| TagRow {
        tag: tag.to_owned(),
        kind: format!("GGUF {text}"),
        parameters: "134.5 M".to_owned(),
        bits: "6.14".to_owned(),
        size: size.to_owned(),
        divergence: divergence.to_owned(),
        day: "26 Nov 2026".to_owned(),
        stamp: "2026-11-26T10:31:45.000Z".to_owned(),
    };
    let rivals = [("q4_k_m", 98, 0.016), ("q8_0", 140, 0.0009), ("iq3_m", 80, 0.11)];
    let rivals: Vec<_> = rivals
        .iter()
        .map(|(name, size, value)| plot::Rival { name, bytes: size << 20, value: *value })
        .collect();
    Repository {
        frame: frame(""),
        about: text.to_owned(),
        main: "latest".to_owned(),
        command: commands(&repo).into_iter().next(),
        rows: vec![row("q4_k_m", "98.4 MiB", "0.01621"), row("q8_0", "140.0 MiB", "0.00090")],
        next: None,
        plot: plot::rivals("rivals", "KL divergence by size", "mean KL divergence", &rivals),
        repo: repo.to_string(),
    }
}

#[test]
fn what_others_wrote_is_shown_as_text() {
    let pages = [
        Home {
            frame: frame(HOSTILE),
            entries: vec![entry(HOSTILE)],
            continued: false,
            next: None,
            commands: Vec::new(),
        }
        .render(),
        repository(HOSTILE).render(),
        model(HOSTILE).render(),
        Problem { frame: frame(HOSTILE), title: HOSTILE.to_owned(), text: HOSTILE.to_owned() }
            .render(),
    ];
    for page in pages {
        let page = page.unwrap();
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains("alert('1')</script>"), "{page}");
    }
}

#[test]
fn pages_carry_nothing_that_their_policy_forbids() {
    let page = model("x").render().unwrap();
    for forbidden in ["<script", " style=\"", " onclick", "javascript:", "src=\"http"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
}
