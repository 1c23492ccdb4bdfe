//! The timeline of leaderships on a canvas: a strip on the card, a line for each node in the Leader view.

use freshet_wire::{Cluster, LeaderState};
use leptos::html::Canvas;
use leptos::prelude::*;

use super::words::{self, News};
use crate::view::chart::leaders::{self, Leaders, Piece};
use crate::view::chart::scale::TimeScale;
use crate::view::chart::surface::Surface;
use crate::view::frame::Frame;
use crate::view::point::Gesture;

/// How much of the past is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Window {
    /// So much.
    Exactly(f64),
    /// What there is, and at most so much.
    Most(f64),
}

pub struct Picture {
    node: NodeRef<Canvas>,
    surface: Option<Surface>,
    window: Window,
    strip: bool,
    /// When the span that is pointed at began: its place in the timeline changes.
    pointed_us: Option<i64>,
    gesture: Option<Gesture>,
    /// Of what was drawn last: the moment, when the value was made, and whether it was of now.
    drawn: (f64, i64, bool, bool),
    /// It shows another stretch than was asked for.
    is_stale: bool,
}

/// What is pointed at.
pub struct Pointed {
    /// Of the timeline.
    pub index: usize,
    pub x: f64,
    pub width: f64,
}

impl Picture {
    pub fn strip(window: Window) -> Self {
        Self::new(window, true)
    }

    pub fn lines(window: Window) -> Self {
        Self::new(window, false)
    }

    fn new(window: Window, strip: bool) -> Self {
        Self {
            node: NodeRef::new(),
            surface: None,
            window,
            strip,
            pointed_us: None,
            gesture: None,
            drawn: (0.0, 0, false, false),
            is_stale: true,
        }
    }

    pub fn node(&self) -> NodeRef<Canvas> {
        self.node
    }

    pub fn set_window(&mut self, window: Window) {
        self.window = window;
        self.is_stale = true;
    }

    pub fn tell(&mut self, gesture: Gesture) {
        self.gesture = Some(gesture);
    }

    /// Draws it, if it is another picture than before; what is pointed at, in that case.
    pub fn paint(&mut self, frame: &Frame<'_>, news: &News<'_>) -> Option<Option<Pointed>> {
        if self.surface.is_none() {
            self.surface = self.node.get_untracked().and_then(Surface::new);
        }
        let surface = self.surface.as_mut()?;
        let resized = surface.fit();
        let cluster = news.cluster?;
        if surface.is_empty() {
            return None;
        }
        let nodes = if self.strip { Vec::new() } else { names(cluster) };
        let widest = nodes.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let right = surface.width - if self.strip { 0.0 } else { 8.0 };
        let left = match self.strip {
            true => 0.0,
            false => (widest as f64 * 6.6 + 16.0).clamp(40.0, right / 3.0),
        };
        let now_us = frame.shown_us;
        let oldest_us = cluster.timeline.first().map_or(now_us, |span| span.from_us as f64);
        let time = TimeScale {
            now_us,
            span_us: match self.window {
                Window::Exactly(us) => us,
                // From where there is something, but not blown up.
                Window::Most(us) if self.strip => (now_us - oldest_us).clamp(30e6, us),
                Window::Most(us) => leaders::fitting_us(now_us - oldest_us).min(us),
            },
            left,
            right,
        };
        let paused = frame.model.paused;
        let same = (cluster.now_us, news.fresh, paused) == (self.drawn.1, self.drawn.2, self.drawn.3);
        let moved = (now_us - self.drawn.0).abs() >= time.us_per_px() / 2.0;
        let gesture = self.gesture.take();
        let anew = resized || frame.repaint || gesture.is_some() || std::mem::take(&mut self.is_stale);
        if !(anew || !paused && (moved || !same) || paused != self.drawn.3) {
            return None;
        }
        self.drawn = (now_us, cluster.now_us, news.fresh, paused);
        let spans = &cluster.timeline;
        let until_us = if news.fresh { time.now_us } else { news.until_us() };
        let pieces = leaders::pieces(spans, &time, until_us);
        if let Some(gesture) = gesture {
            let old = spans.iter().position(|span| Some(span.from_us) == self.pointed_us);
            let index = point(gesture, old, &pieces, spans);
            self.pointed_us = index.and_then(|index| spans.get(index)).map(|span| span.from_us);
        }
        let pointed = pieces
            .iter()
            .find(|piece| Some(spans[piece.index].from_us) == self.pointed_us);
        let gaps = gaps(cluster, news);
        Leaders {
            surface,
            palette: frame.palette,
            time,
            spans,
            pieces: &pieces,
            nodes: &nodes,
            gaps: &gaps,
            token: words::token_name(&cluster.election.name),
            until_us,
            pointed: pointed.map(|piece| piece.index),
            paused,
        }
        .draw();
        Some(pointed.map(|piece| Pointed {
            index: piece.index,
            x: f64::midpoint(piece.from, piece.to),
            width: surface.width,
        }))
    }
}

/// The nodes that are known, and those that led and are not known any more.
fn names(cluster: &Cluster) -> Vec<String> {
    let mut names: Vec<String> = cluster.nodes.iter().map(|node| node.id.clone()).collect();
    for node in cluster.timeline.iter().filter_map(|span| span.node.as_ref()) {
        if !names.contains(node) {
            names.push(node.clone());
        }
    }
    names
}

/// The gaps' durations, by the index of their spans.
fn gaps(cluster: &Cluster, news: &News<'_>) -> Vec<(usize, String)> {
    let spans = cluster.timeline.iter().enumerate();
    let gaps = spans.filter(|(_, span)| span.state == LeaderState::Leaderless);
    gaps.map(|(index, span)| {
        let us = match span.duration_us {
            Some(us) => us as f64,
            None => news.until_us() - span.from_us as f64,
        };
        (index, words::lasted(us))
    })
    .collect()
}

/// What is pointed at after a gesture.
fn point(gesture: Gesture, old: Option<usize>, pieces: &[Piece], spans: &[freshet_wire::Span]) -> Option<usize> {
    let (first, last) = (pieces.first()?.index, pieces.last()?.index);
    match gesture {
        Gesture::At(x, _) => leaders::at(pieces, spans, x),
        Gesture::Step(step) => Some(match old {
            Some(old) => old.saturating_add_signed(step as isize).clamp(first, last),
            None => last,
        }),
        Gesture::Away => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::tests::cluster;
    use super::*;

    #[test]
    fn who_led_keeps_a_line_also_when_it_is_not_known_any_more() {
        let mut cluster = cluster();
        cluster.nodes.remove(0);
        assert_eq!(names(&cluster), ["node-2", "node-3", "node-1"]);
    }

    #[test]
    fn arrow_keys_go_from_span_to_span_and_stop_at_the_ends() {
        let cluster = cluster();
        let spans = &cluster.timeline;
        let pieces: Vec<_> = (0..3)
            .map(|index| Piece {
                index,
                from: 0.0,
                to: 9.0,
            })
            .collect();
        let step = |old, by| point(Gesture::Step(by), old, &pieces, spans);
        assert_eq!(step(None, -1), Some(2));
        assert_eq!(step(Some(2), -1), Some(1));
        assert_eq!(step(Some(2), 1), Some(2));
        assert_eq!(step(Some(0), -1), Some(0));
        assert_eq!(point(Gesture::Away, Some(1), &pieces, spans), None);
    }
}
