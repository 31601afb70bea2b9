//! A model card: Markdown that somebody else wrote, as HTML that can do nothing but be read.

use std::sync::LazyLock;

use ammonia::UrlRelative;
use pulldown_cmark::{CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd, html};

/// Bytes of a card that are shown.
pub(crate) const SHOWN_BYTES: usize = 256 << 10;

/// Nested lists and quotations; nobody reads deeper ones, and HTML parsers take quadratic time over them.
const DEPTH: usize = 32;

/// Pieces of raw HTML in a card, for the same reason.
const RAW_PIECES: usize = 4000;

/// Elements that a card keeps; of all others the text stays.
static CLEANER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut cleaner = ammonia::Builder::default();
    // The page has its own two levels above the card's. Pictures would load from other hosts.
    cleaner
        .rm_tags(["h1", "h2", "img", "map", "area", "header", "footer", "nav", "article", "aside"])
        .link_rel(Some("nofollow noopener noreferrer"))
        .url_schemes(["http", "https", "mailto"].into())
        .url_relative(UrlRelative::Deny);
    cleaner
});

/// Renders a card. What is too deeply nested to be read is shown as the text that it is.
pub(crate) fn render(markdown: &str) -> String {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut events = Vec::new();
    let (mut depth, mut raw, mut in_metadata) = (0_usize, 0_usize, false);
    for event in Parser::new_ext(markdown, options) {
        match &event {
            Event::Start(Tag::MetadataBlock(_)) => in_metadata = true,
            Event::Start(_) => depth += 1,
            Event::End(TagEnd::MetadataBlock(_)) => in_metadata = false,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Html(html) | Event::InlineHtml(html) => raw += html.matches('<').count(),
            _ => {}
        }
        if depth > DEPTH || raw > RAW_PIECES {
            return format!("<pre>{}</pre>", ammonia::clean_text(markdown));
        }
        if !in_metadata && let Some(event) = readable(event) {
            events.push(event);
        }
    }
    let mut rendered = String::new();
    html::push_html(&mut rendered, events.into_iter());
    CLEANER.clean(&rendered).to_string()
}

/// Headings go two levels down, below the page's own; of pictures their descriptions stay.
fn readable(event: Event<'_>) -> Option<Event<'_>> {
    Some(match event {
        Event::Start(Tag::Heading { level, .. }) => Event::Start(Tag::Heading {
            level: lower(level),
            id: None,
            classes: Vec::new(),
            attrs: Vec::new(),
        }),
        Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(lower(level))),
        Event::End(TagEnd::MetadataBlock(_)) => return None,
        Event::Start(Tag::Image { .. }) => Event::Text(CowStr::Borrowed("[")),
        Event::End(TagEnd::Image) => Event::Text(CowStr::Borrowed("]")),
        other => other,
    })
}

fn lower(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        _ => HeadingLevel::H6,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_card_is_readable() {
        let card = "---\nlicense: mit\n---\n# Tiny\n\nA *small* model.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n\
                    ![loss curve](plot.png)\n\n[paper](https://example.org/p)\n\n```python\nprint('<b>')\n```\n";
        let html = render(card);
        assert!(html.contains("<h3>Tiny</h3>"), "{html}");
        assert!(html.contains("<em>small</em>") && html.contains("<table>"), "{html}");
        assert!(html.contains("[loss curve]") && !html.contains("<img"), "{html}");
        assert!(html.contains("print('&lt;b&gt;')"), "{html}");
        assert!(!html.contains("license"), "front matter is shown: {html}");
        let link =
            "<a href=\"https://example.org/p\" rel=\"nofollow noopener noreferrer\">paper</a>";
        assert!(html.contains(link), "{html}");
    }

    #[test]
    fn a_hostile_card_can_do_nothing() {
        let cards = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "![x](javascript:alert(1))",
            "[x](javascript:alert(1))",
            "[x](JaVaScRiPt:alert(1))",
            "[x](data:text/html;base64,PHNjcmlwdD4=)",
            "<a href=\"&#106;avascript:alert(1)\">x</a>",
            "<iframe src=https://example.org></iframe>",
            "<form action=/v2/><input name=x><button>Go</button></form>",
            "<svg onload=alert(1)><script>alert(1)</script></svg>",
            "<style>body{display:none}</style>",
            "<base href=https://example.org>",
            "<meta http-equiv=refresh content=0>",
            "<div style=\"position:fixed\" id=top class=bar onclick=alert(1)>x</div>",
            "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
            "`<script>alert(1)</script>`",
        ];
        let bad = [
            "<script", "<img", "<iframe", "<form", "<input", "<svg", "<style", "<base", "<meta",
            "href=\"j", "href=\"J", "href=\"d", "style=", " id=", "class=", "<button", "<math",
        ];
        for card in cards {
            let html = render(card);
            for word in bad {
                assert!(!html.contains(word), "{card} gives {html}");
            }
            let tags = html.split('<').skip(1).filter_map(|part| part.split('>').next());
            assert!(tags.into_iter().all(|tag| !tag.contains(" on")), "{card} gives {html}");
        }
    }

    #[test]
    fn endless_nesting_ends_soon() {
        let start = Instant::now();
        for piece in
            [">", "- ", "<div>", "<b a=1>", "**a ", "[", "![", "<a href=x>", "`", "|", "<p><table>"]
        {
            let html = render(&piece.repeat(SHOWN_BYTES / piece.len()));
            assert!(html.len() < 40 * SHOWN_BYTES);
        }
        assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
    }
}
