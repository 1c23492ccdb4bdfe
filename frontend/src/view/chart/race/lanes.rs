//! The background of the race: polls as bars, the lanes' lines, stretches without a connection, gaps.

use super::super::pen::width;
use super::super::surface::FONT;
use super::{GapBand, Outage, Pause, Scene};
use crate::lane::Request;
use crate::latency::Ring;
use crate::view::format;

/// Words in the picture, and where.
struct Label {
    words: String,
    middle: f64,
    width: f64,
}

impl Scene<'_> {
    /// Each poll as a bar from the question to the answer.
    pub(super) fn polls(&self, requests: &Ring<Request>) {
        let pen = &self.surface.pen;
        pen.set_fill_style(&self.palette.bands[0]);
        let mut drawn_from = f64::INFINITY;
        for request in requests
            .iter_back()
            .skip_while(|request| request.sent_us > self.scale.now_us)
        {
            if request.received_us < self.scale.left_us() {
                break;
            }
            let from = self.scale.x(request.sent_us);
            let to = self.scale.x(request.received_us).min(drawn_from - 1.0);
            if to > from - 1.0 {
                // A bar of a millisecond must still be seen; it ends where the answer came.
                let from = from.min(to - 4.0);
                pen.fill_rect(from, 0.0, to - from, self.rails.middle);
                drawn_from = from;
            }
        }
        if let Some(since) = self.lanes[0]
            .lane
            .asking_since_us
            .filter(|since| *since < self.scale.now_us)
        {
            let from = self.scale.x(since);
            pen.fill_rect(from, 0.0, (self.rails.right - from).max(2.0), self.rails.middle);
        }
    }

    /// Each poll that found the quota spent (429), as a mark beneath the lane's line.
    pub(super) fn refused(&self, limited: &Ring<f64>) {
        let pen = &self.surface.pen;
        pen.set_fill_style(&self.palette.lost);
        pen.begin_path();
        let y = self.rails.lanes[0] + 18.0;
        let seen = |us: &&f64| **us >= self.scale.left_us();
        for us in limited.iter_back().take_while(seen) {
            let x = self.scale.x(*us);
            pen.move_to(x - 5.0, y);
            pen.line_to(x + 5.0, y);
            pen.line_to(x, y - 8.5);
        }
        pen.fill();
        if let Some(us) = limited.iter_back().next().filter(seen) {
            self.surface
                .text("429", self.scale.x(*us) - 8.0, y, "right", &self.palette.lost);
        }
    }

    /// A lane's line, since the page watches; hatched instead where the lane was down.
    pub(super) fn rail(&self, lane: usize) {
        let (surface, rails, palette) = (self.surface, self.rails, self.palette);
        let pen = &surface.pen;
        let y = surface.crisp(rails.lanes[lane]);
        if lane == 0 {
            pen.set_fill_style(&palette.edge);
            let middle = surface.crisp(rails.middle) - 0.5;
            pen.fill_rect(rails.left, middle, rails.right - rails.left, 1.0);
        }
        pen.set_fill_style(&palette.lanes[lane]);
        pen.set_alpha(0.6);
        let line = |from: f64, to: f64| pen.fill_rect(from, y - 0.75, to - from, 1.5);
        let mut from = self.scale.x(self.began_us).clamp(rails.left, rails.right);
        for outage in self.lanes[lane].outages {
            let start = self.scale.x(outage.from_us).clamp(from, rails.right);
            let end = outage
                .to_us
                .map_or(rails.right, |to| self.scale.x(to))
                .clamp(start, rails.right);
            if end <= from {
                continue;
            }
            line(from, start);
            from = end;
        }
        line(from, rails.right);
        pen.set_alpha(1.0);
        for outage in self.lanes[lane].outages {
            let [start, end] = self.outage(outage);
            let colour = if outage.pause == Pause::Refused {
                &palette.lost
            } else {
                &palette.rule
            };
            self.hatched(lane, start, end, colour);
        }
    }

    /// From where to where an outage reaches.
    fn outage(&self, outage: &Outage) -> [f64; 2] {
        [
            self.scale.x(outage.from_us.max(self.began_us)),
            outage.to_us.map_or(self.rails.right, |to| self.scale.x(to)),
        ]
    }

    /// Over the events: what outages and gaps are called, and the gaps themselves.
    pub(super) fn words(&self, lane: usize) {
        let scene = &self.lanes[lane];
        let name = |outage: &Outage| match outage.pause {
            Pause::Connecting => "connecting",
            Pause::Down => "no connection",
            Pause::Refused => "refused",
            Pause::Off => "switched off",
        };
        // Of outages that follow each other closely the newest is named.
        let mut outages: Vec<Label> = Vec::new();
        for outage in scene.outages.iter().rev() {
            if let Some(label) = self.label(self.outage(outage), name(outage).to_owned())
                && outages.last().is_none_or(|newer| label.is_left_of(newer))
            {
                outages.push(label);
            }
        }
        // A gap of no length is still a gap.
        let stretch = |gap: &GapBand| {
            let end = self.scale.x(gap.to_us);
            [self.scale.x(gap.from_us).min(end - 6.0), end]
        };
        for [start, end] in scene.gaps.iter().map(stretch) {
            self.hatched(lane, start, end, &self.palette.lost);
        }
        let gaps = self.gap_labels(scene.gaps, stretch);
        let (top, bottom) = self.half(lane);
        let middle = (top + bottom) / 2.0;
        let apart = if outages.is_empty() || gaps.is_empty() {
            0.0
        } else {
            12.0
        };
        self.write(&outages, middle - apart, &self.palette.dim);
        self.write(&gaps, middle + apart, &self.palette.lost);
    }

    /// As many words as there is room for: why each gap was, how much was missed in each, or in all of them.
    fn gap_labels(&self, gaps: &[GapBand], stretch: impl Fn(&GapBand) -> [f64; 2]) -> Vec<Label> {
        let few = |gap: &GapBand| match gap.count {
            Some(count) => [&format::count(count), " missed"].concat(),
            None => String::from("some missed"),
        };
        let words: [&dyn Fn(&GapBand) -> String; 2] = [&|gap| gap.words.clone(), &few];
        for words in words {
            let labels: Vec<Label> = gaps
                .iter()
                .filter_map(|gap| self.label(stretch(gap), words(gap)))
                .collect();
            if labels.windows(2).all(|two| two[0].is_left_of(&two[1])) {
                return labels;
            }
        }
        let start = gaps.iter().map(|gap| stretch(gap)[0]).fold(f64::INFINITY, f64::min);
        let end = gaps.iter().map(|gap| stretch(gap)[1]).fold(f64::NEG_INFINITY, f64::max);
        self.label([start, end], together(gaps)).into_iter().collect()
    }

    /// From top to bottom of a lane's half.
    fn half(&self, lane: usize) -> (f64, f64) {
        if lane == 0 {
            (0.0, self.rails.middle - 5.0)
        } else {
            (self.rails.middle + 5.0, self.rails.bottom)
        }
    }

    fn hatched(&self, lane: usize, start: f64, end: f64, colour: &str) {
        let (top, bottom) = self.half(lane);
        if end > self.rails.left.max(start) && start < self.rails.right {
            self.surface.hatch(start, top, end - start, bottom - top, colour);
        }
    }

    /// In the middle of what is seen of a stretch; none for one that is leaving the picture.
    fn label(&self, [start, end]: [f64; 2], words: String) -> Option<Label> {
        let rails = self.rails;
        let (from, to) = (start.max(rails.left), end.min(rails.right));
        if to <= from || to - from < (end - start) / 2.0 && to - from < 90.0 {
            return None;
        }
        let width = width(&words, FONT) + 14.0;
        let furthest = (rails.right - width / 2.0).max(rails.left + width / 2.0);
        let middle = ((from + to) / 2.0).clamp(rails.left + width / 2.0, furthest);
        Some(Label { words, middle, width })
    }

    fn write(&self, labels: &[Label], y: f64, ink: &str) {
        for Label { words, middle, width } in labels {
            self.surface.pen.set_fill_style(&self.palette.panel);
            self.surface.pen.fill_rect(middle - width / 2.0, y - 10.0, *width, 20.0);
            self.surface.text(words, *middle, y + 4.0, "center", ink);
        }
    }
}

impl Label {
    fn is_left_of(&self, other: &Self) -> bool {
        self.middle + self.width / 2.0 <= other.middle - other.width / 2.0
    }
}

/// Many gaps in one sentence.
fn together(gaps: &[GapBand]) -> String {
    let missed: u64 = gaps.iter().filter_map(|gap| gap.count).fold(0, u64::saturating_add);
    let unknown = gaps.iter().any(|gap| gap.count.is_none());
    let (missed, gaps) = (format::count(missed), format::count(gaps.len() as u64));
    let most = if unknown { "at least " } else { "" };
    [most, &missed, " missed in ", &gaps, " gaps"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_gaps_are_told_with_all_that_is_known() {
        let gap = |count| GapBand {
            from_us: 0.0,
            to_us: 1.0,
            count,
            words: String::new(),
        };
        assert_eq!(together(&[gap(Some(1_200)), gap(Some(34))]), "1,234 missed in 2 gaps");
        assert_eq!(together(&[gap(Some(2)), gap(None)]), "at least 2 missed in 2 gaps");
    }
}
