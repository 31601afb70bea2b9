//! Text generation with the small trained model: what ends it, and what comes out.

#![allow(clippy::expect_used, reason = "a test that fails may say so")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use mdl_formats::{Checkpoint, Limits};
use mdl_infer::{
    Decoder, Ended, Error, Model, Options, Outcome, Precision, Sampler, Sampling, Session,
    StopRules, generate, greedy,
};
use mdl_kernels::{Compute, Tier};
use mdl_tests::data;

/// "And it came to pass in those days", and the seven tokens that follow.
const PROMPT: [u32; 9] = [0, 304, 348, 505, 287, 661, 293, 941, 727];
const NEXT: [u32; 7] = [13, 305, 260, 363, 406, 333, 764];

fn model(context: Option<usize>) -> Model {
    let checkpoint =
        Checkpoint::open(&data().join("tiny"), &Limits::default()).expect("the model opens");
    let compute = Arc::new(Compute::new(Tier::detect(), 2));
    let options = Options { precision: Precision::F32, context, ..Options::new(compute) };
    Model::load(&checkpoint, &options).expect("the model loads")
}

/// Writes a token as its number in angle brackets.
struct Numbers;

impl Decoder for Numbers {
    fn push(&mut self, token: u32) -> Result<String, String> {
        Ok(format!("<{token}>"))
    }

    fn finish(&mut self) -> String {
        String::new()
    }
}

fn run(model: &Model, sampling: Sampling, rules: &StopRules<'_>) -> (Outcome, String) {
    let mut session = Session::new(model);
    let mut sampler = Sampler::new(sampling).expect("settings in range");
    let mut text = String::new();
    let mut emit = |piece: &str| text.push_str(piece);
    let outcome = generate(&mut session, &mut Numbers, &PROMPT, &mut sampler, rules, &mut emit)
        .expect("generates");
    (outcome, text)
}

#[test]
fn greedy_text_ends_where_it_should() {
    let model = model(None);
    let greedily = |rules: StopRules<'_>| run(&model, Sampling::default(), &rules);
    let (outcome, text) = greedily(StopRules { max_tokens: Some(7), ..StopRules::default() });
    assert_eq!((&outcome.tokens[..], outcome.ended), (&NEXT[..], Ended::MaxTokens));
    assert_eq!(text, "<13><305><260><363><406><333><764>");

    let end_tokens = [363];
    let rules = StopRules { end_tokens: &end_tokens, ..StopRules::default() };
    let (outcome, text) = greedily(rules);
    assert_eq!((outcome.ended, text.as_str()), (Ended::EndToken(363), "<13><305><260>"));

    let stop = ["0><36".to_owned()];
    let (outcome, text) = greedily(StopRules { stop: &stop, ..StopRules::default() });
    assert_eq!((outcome.ended, text.as_str()), (Ended::Stop(stop[0].clone()), "<13><305><26"));

    let flag = AtomicBool::new(false);
    flag.store(true, Ordering::Relaxed);
    let rules = StopRules { cancelled: Some(&flag), ..StopRules::default() };
    assert_eq!(greedily(rules).0.ended, Ended::Cancelled);
}

#[test]
fn the_context_ends_text_and_refuses_prompts() {
    let small = model(Some(12));
    let (outcome, _) = run(&small, Sampling::default(), &StopRules::default());
    // Nine of the prompt and three more fit; what follows the last is still known.
    assert_eq!((&outcome.tokens[..], outcome.ended), (&NEXT[..4], Ended::ContextFull));

    let tiny = model(Some(8));
    let mut session = Session::new(&tiny);
    let mut sampler = Sampler::new(Sampling::default()).expect("settings in range");
    let rules = StopRules::default();
    let refused = generate(&mut session, &mut Numbers, &PROMPT, &mut sampler, &rules, &mut |_| {});
    assert!(matches!(refused, Err(Error::Context { needed: 9, limit: 8 })), "{refused:?}");
    let beyond = session.next_logits(&[1 << 20]);
    assert!(matches!(beyond, Err(Error::Token { vocab: 2048, .. })));
}

#[test]
fn sampled_text_repeats_with_its_seed_only() {
    let model = model(None);
    let draw = |seed| {
        let sampling = Sampling { temperature: 1.5, top_k: 40, seed, ..Sampling::default() };
        let rules = StopRules { max_tokens: Some(12), ..StopRules::default() };
        run(&model, sampling, &rules).0.tokens
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

#[test]
fn a_session_goes_on_from_what_two_prompts_share() {
    let model = model(None);
    let mut session = Session::new(&model);
    session.next_logits(&PROMPT).expect("a forward pass");
    let mut other = PROMPT;
    other[6] = 400;
    assert_eq!(session.keep_common(&other), 6);
    let continued = session.next_logits(&other[6..]).expect("a forward pass").to_vec();
    let mut fresh = Session::new(&model);
    assert_eq!(fresh.next_logits(&other).expect("a forward pass"), continued);
    assert_eq!(session.keep_common(&other), other.len() - 1);
    assert!(greedy(&continued).is_some());
}
