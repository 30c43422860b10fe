// SPDX-License-Identifier: Apache-2.0
//! A plot as inline SVG with its title, legend and the numbers behind it. Pure: lines in, text out. Invariants: no number
//! of the SVG is anything but finite, and no text comes into it without being escaped.

use std::fmt::Write;

use super::scale::{Range, Scale};
use super::words::{self, escape};

/// What the values of an axis are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Rate,
    Seconds,
    Nanos,
    /// How many nines a percentile has: 1 is 90 %, 2 is 99 %.
    Nines,
}

/// One axis.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    pub(super) scale: Scale,
}

/// Values that belong together. One that cannot be shown is a gap.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
    pub(super) is_dashed: bool,
}

/// A plot.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    /// What is to be seen, in a sentence; also for those who cannot see it.
    pub(super) text: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 26.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 46.0;
/// Colours that the page has for lines; more lines than that get the same with another dash.
const COLOURS: usize = 6;
/// Lines with no more points than that have a mark at each.
const MARKED: usize = 12;
/// Of lines with more points than that the numbers are left to suite.json.
const LISTED: usize = 130;

impl Unit {
    /// A value in words.
    pub(super) fn text(self, value: f64) -> String {
        match self {
            Unit::Rate => words::brief(value),
            Unit::Seconds if value.is_finite() => format!("{} s", words::short(value)),
            Unit::Nanos => words::nanos(value),
            Unit::Nines if value.is_finite() => percentile(value),
            Unit::Seconds | Unit::Nines => words::NONE.to_owned(),
        }
    }
}

/// `99.9 %` for three nines.
fn percentile(nines: f64) -> String {
    let share = 100.0 * (1.0 - 10f64.powf(-nines));
    let digits = (nines.ceil() - 2.0).clamp(0.0, 9.0) as usize;
    let text = format!("{share:.digits$}");
    format!("{text} %")
}

/// The plot as a figure of a page.
pub(super) fn figure(plot: &Plot) -> String {
    let (title, text) = (escape(&plot.title), escape(&plot.text));
    let mut out =
        format!("<figure class=\"plot\">\n<figcaption><h3>{title}</h3><p>{text}</p></figcaption>\n");
    out.push_str(&svg(plot));
    out.push_str(&legend(plot));
    out.push_str(&numbers(plot));
    out.push_str("</figure>\n");
    out
}

/// The drawing alone.
pub(super) fn svg(plot: &Plot) -> String {
    let all = || plot.lines.iter().flat_map(|line| line.points.iter());
    // A value without its counterpart is not drawn and does not stretch the other axis.
    let drawn = || all().filter(|(x, y)| x.is_finite() && y.is_finite());
    let x = match plot.x.unit {
        Unit::Seconds | Unit::Nines => Range::up_to(drawn().map(|(x, _)| *x).fold(0.0, f64::max)),
        Unit::Rate | Unit::Nanos => Range::over(plot.x.scale, drawn().map(|(x, _)| *x)),
    };
    let y = Range::over(plot.y.scale, drawn().map(|(_, y)| *y));
    let label = escape(&format!("{}: {}", plot.title, plot.text));
    let mut out = format!(
        "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{label}\"><title>{}</title>\n",
        escape(&plot.title)
    );
    axes(&mut out, plot, &x, &y);
    for (index, line) in plot.lines.iter().enumerate() {
        let marks = draw(&mut out, line, index, &x, &y);
        for (at, place) in marks {
            mark(&mut out, plot, index, line.points[at], place);
        }
    }
    if drawn().next().is_none() {
        let _ = writeln!(
            out,
            "<text class=\"none\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">nothing was measured</text>",
            number((LEFT + WIDTH - RIGHT) / 2.0),
            number((TOP + HEIGHT - BOTTOM) / 2.0)
        );
    }
    out.push_str("</svg>\n");
    out
}

fn across(place: f64) -> f64 {
    LEFT + place * (WIDTH - LEFT - RIGHT)
}

fn upwards(place: f64) -> f64 {
    HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM)
}

/// A coordinate. What is not one becomes the origin: a page with a wrong place is better than a broken one.
fn number(value: f64) -> String {
    let value = if value.is_finite() { value.clamp(0.0, WIDTH.max(HEIGHT)) } else { 0.0 };
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

fn axes(out: &mut String, plot: &Plot, x: &Range, y: &Range) {
    let (left, right) = (number(LEFT), number(WIDTH - RIGHT));
    let (top, bottom) = (number(TOP), number(HEIGHT - BOTTOM));
    for tick in y.ticks() {
        let Some(at) = y.place(tick).map(|place| number(upwards(place))) else { continue };
        let text = escape(&plot.y.unit.text(tick));
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{left} {at}H{right}\"/><text x=\"{}\" y=\"{at}\" dy=\".35em\" text-anchor=\"end\">{text}</text>",
            number(LEFT - 6.0)
        );
    }
    let ticks = match plot.x.unit {
        Unit::Nines => (0..=x.high() as u32).map(f64::from).collect(),
        _ => x.ticks(),
    };
    for tick in ticks {
        let Some(place) = x.place(tick) else { continue };
        let (at, text) = (number(across(place)), escape(&plot.x.unit.text(tick)));
        // The first one would touch the lowest value of the other axis.
        let anchor = if place < 0.01 { "start" } else { "middle" };
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{at} {top}V{bottom}\"/><text x=\"{at}\" y=\"{}\" text-anchor=\"{anchor}\">{text}</text>",
            number(HEIGHT - BOTTOM + 18.0)
        );
    }
    let _ = writeln!(
        out,
        "<path class=\"axis\" d=\"M{left} {top}V{bottom}H{right}\"/>\
         <text class=\"name\" x=\"{}\" y=\"14\">{}</text>\
         <text class=\"name\" x=\"{right}\" y=\"{}\" text-anchor=\"end\">{}</text>",
        number(4.0),
        escape(plot.y.name),
        number(HEIGHT - 8.0),
        escape(plot.x.name)
    );
}

/// The classes of a line: its colour, and whether it is dashed.
fn classes(index: usize, line: &Line) -> String {
    let dashed = if line.is_dashed || index >= COLOURS { " dashed" } else { "" };
    format!("line c{}{dashed}", index % COLOURS)
}

/// Draws a line and returns which of its points, and where, need a mark to be seen or to be pointed at.
fn draw(out: &mut String, line: &Line, index: usize, x: &Range, y: &Range) -> Vec<(usize, (f64, f64))> {
    let places: Vec<Option<(f64, f64)>> = line
        .points
        .iter()
        .map(|(at, value)| Some((across(x.place(*at)?), upwards(y.place(*value)?))))
        .collect();
    let mut path = String::new();
    let mut is_open = false;
    for place in &places {
        match place {
            Some((x, y)) => {
                let _ = write!(path, "{}{} {}", if is_open { 'L' } else { 'M' }, number(*x), number(*y));
                is_open = true;
            }
            None => is_open = false,
        }
    }
    if !path.is_empty() {
        let _ = writeln!(out, "<path class=\"{}\" d=\"{path}\"/>", classes(index, line));
    }
    // A point between two gaps would not be seen without a mark.
    let is_lonely = |at: usize| {
        let is_gap = |at: Option<usize>| at.and_then(|at| places.get(at)).is_none_or(Option::is_none);
        is_gap(at.checked_sub(1)) && is_gap(Some(at + 1))
    };
    let is_marked = |at: &usize| places.len() <= MARKED || is_lonely(*at);
    (0..places.len()).filter(is_marked).filter_map(|at| Some((at, places[at]?))).collect()
}

fn mark(out: &mut String, plot: &Plot, index: usize, (x, y): (f64, f64), (cx, cy): (f64, f64)) {
    let text = format!("{}: {} at {}", plot.lines[index].name, plot.y.unit.text(y), plot.x.unit.text(x));
    let _ = writeln!(
        out,
        "<circle class=\"mark c{}\" cx=\"{}\" cy=\"{}\" r=\"3\"><title>{}</title></circle>",
        index % COLOURS,
        number(cx),
        number(cy),
        escape(&text)
    );
}

fn legend(plot: &Plot) -> String {
    let mut out = String::from("<ul class=\"legend\">");
    for (index, line) in plot.lines.iter().enumerate() {
        let _ = write!(
            out,
            "<li><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path class=\"{}\" d=\"M0 4H24\"/></svg>{}</li>",
            classes(index, line),
            escape(&line.name)
        );
    }
    out.push_str("</ul>\n");
    out
}

/// The numbers behind the plot: a row for each place on the lower axis that a line has a value at.
fn numbers(plot: &Plot) -> String {
    if plot.lines.iter().any(|line| line.points.len() > LISTED) {
        return "<p class=\"numbers\">The numbers are in suite.json.</p>\n".to_owned();
    }
    let mut places: Vec<f64> = plot.lines.iter().flat_map(|line| &line.points).map(|(x, _)| *x).collect();
    places.retain(|place| place.is_finite());
    places.sort_by(f64::total_cmp);
    places.dedup();
    let mut out = format!(
        "<details class=\"numbers\"><summary>Numbers</summary><div class=\"scroll\"><table><caption>{}</caption><thead><tr><th scope=\"col\">{}</th>",
        escape(&plot.title),
        escape(plot.x.name)
    );
    for line in &plot.lines {
        let _ = write!(out, "<th scope=\"col\">{}</th>", escape(&line.name));
    }
    out.push_str("</tr></thead><tbody>\n");
    for place in places {
        let _ = write!(out, "<tr><th scope=\"row\">{}</th>", escape(&plot.x.unit.text(place)));
        for line in &plot.lines {
            let found = line.points.iter().find(|(x, _)| *x == place);
            let text = found.map_or_else(|| words::NONE.to_owned(), |(_, y)| plot.y.unit.text(*y));
            let _ = write!(out, "<td>{}</td>", escape(&text));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div></details>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(scale: Scale, lines: Vec<Vec<(f64, f64)>>) -> Plot {
        let line = |points| Line { name: "<b>&\"'".to_owned(), points, is_dashed: false };
        Plot {
            title: "</title><script>".to_owned(),
            text: "\" onload=\"x".to_owned(),
            x: Axis { name: "time", unit: Unit::Seconds, scale: Scale::Linear },
            y: Axis { name: "latency", unit: Unit::Nanos, scale },
            lines: lines.into_iter().map(line).collect(),
        }
    }

    #[test]
    fn whatever_the_values_are_every_number_is_finite() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.0, 1.0, f64::MAX, f64::MIN_POSITIVE];
        let pairs: Vec<(f64, f64)> = odd.iter().flat_map(|x| odd.iter().map(|y| (*x, *y))).collect();
        let cases: Vec<Vec<Vec<(f64, f64)>>> = vec![
            vec![],
            vec![vec![]],
            vec![vec![(0.0, 0.0)]],
            vec![vec![(1.0, 5.0)]],
            vec![vec![(0.0, f64::NAN), (1.0, f64::NAN)]],
            vec![pairs.clone()],
            pairs.iter().map(|pair| vec![*pair]).collect(),
        ];
        for lines in cases {
            for scale in [Scale::Linear, Scale::Log] {
                let text = figure(&plot(scale, lines.clone()));
                let drawn = svg(&plot(scale, lines.clone()));
                for bad in ["NaN", "inf", "-0", "e+"] {
                    assert!(!text.contains(bad), "{bad} in {text}");
                }
                let coordinates = drawn
                    .split('"')
                    .filter(|part| part.starts_with('M'))
                    .flat_map(|path| path.split(['M', 'L', 'H', 'V', ' ']).filter(|word| !word.is_empty()));
                for coordinate in coordinates {
                    let value: f64 = coordinate.parse().expect("a number");
                    assert!((0.0..=480.0).contains(&value), "{coordinate}");
                }
            }
        }
    }

    #[test]
    fn names_from_outside_stay_text() {
        let text = figure(&plot(Scale::Log, vec![vec![(1.0, 2.0), (2.0, 3.0)]]));
        for bad in ["<script", "<b>", "\" onload"] {
            assert!(!text.contains(bad), "{bad} in {text}");
        }
        assert!(text.contains("&lt;b&gt;&amp;&quot;&#39;"));
    }

    #[test]
    fn a_gap_ends_the_line_and_a_lonely_point_is_marked() {
        let points =
            |gap| (0..40).map(|at| (f64::from(at), if gap == at { f64::NAN } else { 5.0 })).collect();
        let whole = svg(&plot(Scale::Linear, vec![points(99)]));
        let broken = svg(&plot(Scale::Linear, vec![points(38)]));
        let line =
            |text: &str| text.lines().find(|line| line.contains("class=\"line")).expect("a line").to_owned();
        assert_eq!(line(&whole).matches('M').count(), 1);
        assert_eq!(line(&broken).matches('M').count(), 2);
        assert_eq!((whole.matches("<circle").count(), broken.matches("<circle").count()), (0, 1));
        assert!(svg(&plot(Scale::Linear, vec![])).contains("nothing was measured"));
    }

    #[test]
    fn percentiles_are_written_with_their_nines() {
        let texts = [0.0, std::f64::consts::LOG10_2, 1.0, 2.0, 3.0, 4.0, 5.0].map(percentile);
        assert_eq!(texts, ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        assert_eq!(Unit::Nines.text(f64::NAN), words::NONE);
    }
}
