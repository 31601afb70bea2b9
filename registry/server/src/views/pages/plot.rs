//! Plots as SVG, drawn on the server. Colours come from the style sheet, so that they follow the reader's theme.

use std::fmt::Write as _;

use super::super::units::{Size, figure};

/// Inner area of a plot, in the units of its view box.
const LEFT: f64 = 72.0;
const RIGHT: f64 = 470.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 210.0;

/// Logarithmic axis: from the decade below the smallest value to the one above the largest.
struct Decades {
    low: i32,
    high: i32,
}

impl Decades {
    /// Over the positive ones of some values; at most eight decades below the largest.
    fn over(values: impl Iterator<Item = f64> + Clone) -> Option<Self> {
        let positive = values.filter(|value| *value > 0.0 && value.is_finite());
        let largest = positive.clone().max_by(f64::total_cmp)?;
        let smallest = positive.min_by(f64::total_cmp)?;
        let high = largest.log10().ceil() as i32;
        let low = (smallest.log10().floor() as i32).clamp(high - 8, high - 1);
        Some(Self { low, high })
    }

    /// Height of a value in the plot; zero and less lie on the axis.
    fn y(&self, value: f64) -> f64 {
        let span = f64::from(self.high - self.low);
        let part = if value > 0.0 { (value.log10() - f64::from(self.low)) / span } else { 0.0 };
        BOTTOM - part.clamp(0.0, 1.0) * (BOTTOM - TOP)
    }

    fn draw(&self, svg: &mut String, label: &str) {
        for decade in self.low..=self.high {
            let y = self.y(10_f64.powi(decade));
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                decade_label(decade),
            );
        }
        let middle = f64::midpoint(TOP, BOTTOM);
        let _ = write!(
            svg,
            "<text class=\"middle name\" transform=\"translate(13 {middle:.0}) rotate(-90)\">{}</text>",
            escaped(label)
        );
    }
}

fn decade_label(decade: i32) -> String {
    match decade {
        -3..=3 => format!("{}", 10_f64.powi(decade)),
        _ => format!("1e{decade}"),
    }
}

/// How a quantity is distributed: a column for each percentile, on a logarithmic axis.
pub(crate) fn percentiles(
    id: &str,
    title: &str,
    axis: &str,
    points: &[(&str, f64)],
) -> Option<String> {
    let decades = Decades::over(points.iter().map(|(_, value)| *value))?;
    let mut svg = opened(id, title, &described(points));
    decades.draw(&mut svg, axis);
    let step = (RIGHT - LEFT) / points.len() as f64;
    for (index, (label, value)) in points.iter().enumerate() {
        let x = LEFT + step * (index as f64 + 0.5);
        let (y, width) = (decades.y(*value), step * 0.62);
        // On a narrow screen every other label is left out.
        let class = if index % 2 == 0 { "middle odd" } else { "middle" };
        let _ = write!(
            svg,
            "<rect class=\"column\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{:.1}\">\
             <title>{}: {}</title></rect><text class=\"{class}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            x - width / 2.0,
            BOTTOM - y,
            escaped(label),
            figure(*value),
            BOTTOM + 16.0,
            escaped(label),
        );
    }
    Some(closed(svg, "percentile of positions"))
}

/// One model among others of its repository.
pub(crate) struct Rival<'a> {
    /// Its tag.
    pub(crate) name: &'a str,
    /// Bytes of its weights.
    pub(crate) bytes: u64,
    /// Its figure: the lower, the better.
    pub(crate) value: f64,
}

/// What a byte buys: a figure over file sizes, a point for each model.
pub(crate) fn rivals(id: &str, title: &str, axis: &str, models: &[Rival<'_>]) -> Option<String> {
    let decades = Decades::over(models.iter().map(|model| model.value))?;
    let largest = models.iter().map(|model| model.bytes).max()?.max(1) as f64 * 1.08;
    let points: Vec<(&str, f64)> = models.iter().map(|model| (model.name, model.value)).collect();
    let mut svg = opened(id, title, &described(&points));
    decades.draw(&mut svg, axis);
    for quarter in 0..=4 {
        let part = f64::from(quarter) / 4.0;
        let x = LEFT + part * (RIGHT - LEFT);
        let anchor = match quarter {
            4 => "end",
            1 | 3 => "middle odd",
            _ => "middle",
        };
        let _ = write!(
            svg,
            "<text class=\"{anchor}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            BOTTOM + 16.0,
            Size((part * largest) as u64)
        );
    }
    for model in models {
        let (x, y) = (LEFT + model.bytes as f64 / largest * (RIGHT - LEFT), decades.y(model.value));
        let (side, dx) =
            if x > f64::midpoint(LEFT, RIGHT) { ("end", -9.0) } else { ("start", 9.0) };
        let _ = write!(
            svg,
            "<circle class=\"point\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"><title>{}: {}, {}</title></circle>\
             <text class=\"{side} strong\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            escaped(model.name),
            Size(model.bytes),
            figure(model.value),
            x + dx,
            y + 4.0,
            escaped(&shortened(model.name)),
        );
    }
    Some(closed(svg, "size of the files"))
}

fn opened(id: &str, title: &str, description: &str) -> String {
    format!(
        "<svg class=\"plot\" viewBox=\"0 0 480 250\" role=\"img\" aria-labelledby=\"{id}-title {id}-text\">\
         <title id=\"{id}-title\">{}</title><desc id=\"{id}-text\">{}</desc>",
        escaped(title),
        escaped(description)
    )
}

fn closed(mut svg: String, axis: &str) -> String {
    let _ = write!(
        svg,
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{BOTTOM}\" y2=\"{BOTTOM}\"/>\
         <text class=\"middle name\" x=\"{:.0}\" y=\"{:.0}\">{}</text></svg>",
        f64::midpoint(LEFT, RIGHT),
        BOTTOM + 35.0,
        escaped(axis)
    );
    svg
}

/// The values in words, for those who do not see the plot.
fn described(points: &[(&str, f64)]) -> String {
    let values: Vec<String> =
        points.iter().map(|(label, value)| format!("{label}: {}", figure(*value))).collect();
    values.join("; ")
}

fn shortened(name: &str) -> String {
    const SHOWN: usize = 18;
    match name.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", name.get(..end).unwrap_or_default()),
        None => name.to_owned(),
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_drawn_on_decades() {
        let points = [("min", 0.0), ("median", 0.004), ("99 %", 0.21), ("max", 3.2)];
        let svg = percentiles("kld", "KL divergence", "nats", &points).unwrap();
        assert_eq!(svg.matches("<rect").count(), 4);
        for label in [">0.001<", ">10<", "median: 0.00400", ">99 %<"] {
            assert!(svg.contains(label), "{label} is not in {svg}");
        }
        assert!(percentiles("kld", "", "", &[("min", 0.0), ("max", f64::NAN)]).is_none());
        assert!(percentiles("kld", "", "", &[]).is_none());
    }

    #[test]
    fn plots_stay_in_their_frame_and_escape() {
        let models = [
            Rival { name: "<script>\"&", bytes: u64::MAX, value: 1e300 },
            Rival { name: "q4", bytes: 0, value: 1e-300 },
            Rival { name: "none", bytes: 5, value: f64::INFINITY },
        ];
        let svg = rivals("r", "<b>", "x", &models).unwrap();
        assert!(!svg.contains("<script") && !svg.contains("<b>"), "{svg}");
        for part in svg.split("cy=\"").skip(1) {
            let y: f64 = part.split('"').next().unwrap().parse().unwrap();
            assert!((TOP..=BOTTOM).contains(&y), "{y}");
        }
    }
}
