//! The rows that are in view, and no others: a few dozen lines whose texts change at most once a frame.
//!
//! With the newest first, whoever scrolls away from them, or opens one, sees rows that stand still while others come; how many, a button
//! says, which goes back to the newest.

use std::cell::RefCell;
use std::rc::Rc;

use freshet_wire::GapReason;
use leptos::ev;
use leptos::html::Div;
use leptos::prelude::*;

use super::super::bind::{Class, Flag, Text, class, click, if_empty, live, say};
use super::super::format;
use super::super::frame::{on_frame, put};
use super::Shared;
use crate::feed::Feed;
use crate::feed::datetime::Style;
use crate::feed::rows::{Item, Row};
use crate::route::View;

/// Lines that there are: more than are ever in view (`assets/style.css` bounds the height).
const LINES: usize = 48;
/// The height of a line, as the style sheet has it.
const LINE_PX: f64 = 25.0;
/// Lines above what is in view.
const AHEAD: usize = 3;
/// When more rows came than are in view, nobody reads them: then they are drawn so often, in microseconds.
const FLOOD_US: f64 = 100e3;
/// Bytes that are held against a new filter on each frame.
const SCAN_BYTES: usize = 2 << 20;

#[derive(Clone, Copy)]
struct Line {
    time: Text,
    offset: Text,
    data: Text,
    size: Text,
    look: Class,
    chosen: Flag,
    number: StoredValue<Option<u64>>,
}

/// Where the reader is in the list.
#[derive(Debug, Default)]
struct Place {
    top: f64,
    height: f64,
    /// Scrolled away from the newest.
    away: bool,
    /// With the newest first: only rows with lower numbers are shown.
    below: Option<u64>,
    /// To be scrolled there when the rows are drawn.
    to: Option<f64>,
    /// What was drawn last, when, and the number of the row that was to come next.
    drawn: Option<Drawn>,
    drawn_us: f64,
    drawn_end: u64,
    /// Scrolled there when the event that was opened took the room, and not by the reader.
    pushed: Option<f64>,
}

/// If all of this is as it was, nothing has to be drawn.
#[derive(Debug, PartialEq)]
struct Drawn {
    version: u64,
    total: usize,
    first: usize,
    newest_first: bool,
    style: Style,
    tick: i64,
    opened: Option<u64>,
}

impl Drawn {
    /// Only rows came since, and more of them than are in view.
    fn is_flooded_by(&self, next: &Self, in_view: u64) -> bool {
        let same = |drawn: &Self| (drawn.newest_first, drawn.first, drawn.style, drawn.opened);
        same(self) == same(next) && next.version.saturating_sub(self.version) > in_view && next.total >= self.total
    }
}

pub(super) fn rows(shared: Shared) -> AnyView {
    let ui = shared.ui;
    let line = |_| Line {
        time: Text::default(),
        offset: Text::default(),
        data: Text::default(),
        size: Text::default(),
        look: Class::new("none"),
        chosen: Flag::new(false),
        number: StoredValue::new(None),
    };
    let lines: Rc<[Line]> = (0..LINES).map(line).collect();
    let (scroller, spacer, window) = (NodeRef::<Div>::new(), NodeRef::<Div>::new(), NodeRef::<Div>::new());
    let place = Rc::new(RefCell::new(Place::default()));
    let newer = Text::default();
    let newer_look = Class::new("newer");
    let active = Text::default();
    let (on_lines, on_place) = (Rc::clone(&lines), Rc::clone(&place));
    let mut seen = None;
    on_frame(move |frame| {
        if ui.view() != View::Topics {
            return;
        }
        let handle = ui.handle();
        handle.update_feed_if(|feed| !feed.rows.is_scanned(), |feed| feed.rows.scan(SCAN_BYTES));
        let place = &mut *on_place.borrow_mut();
        let newest_first = shared.newest_first.get_untracked();
        // Another topic, another order, another beginning: at its beginning.
        let what = (newest_first, shared.begun.get_value());
        if seen.replace(what) != Some(what) {
            place.away = false;
            place.pushed = None;
            place.to = Some(0.0).filter(|_| newest_first || shared.pinned.get_value());
        }
        if shared.opened.with_untracked(Option::is_none) && place.pushed.take() == Some(place.top) {
            place.away = false;
            place.to = Some(0.0);
        }
        let held = place.away || shared.pinned.get_value() || shared.opened.with_untracked(Option::is_some);
        handle.tell_feed_if(|feed| feed.held != held, |feed| feed.hold(held));
        let feed = handle.feed();
        let Some(node) = scroller.get_untracked() else { return };
        let mut smaller = false;
        if frame.quarter || place.height == 0.0 {
            let height = f64::from(node.client_height());
            smaller = height < std::mem::replace(&mut place.height, height);
        }
        match (held && newest_first, place.below) {
            // What is seen stands still, not what came since.
            (true, None) => {
                place.below = Some(match place.drawn {
                    Some(_) => place.drawn_end,
                    None => feed.rows.end(),
                });
            }
            (false, _) => place.below = None,
            _ => {}
        }
        let shown = feed.rows.shown();
        let total = place.below.map_or(shown, |below| feed.rows.shown_below(below));
        match (held, place.below) {
            (true, Some(_)) if shown > total => say(
                newer,
                &[&*format::count((shown - total) as u64), " newer: to the newest"],
            ),
            (true, _) => say(newer, &["to the newest"]),
            (false, _) => say(newer, &[]),
        }
        put(newer_look, if newest_first { "newer" } else { "newer last" });
        let whole_px = total as f64 * LINE_PX;
        let follows_end = !held && !newest_first;
        if follows_end {
            place.top = (whole_px - place.height).max(0.0);
        }
        if smaller && let Some(number) = shared.opened.get_untracked() {
            // The event that was opened beneath them took the room.
            place.show(line_of(&feed, number, total, newest_first));
            place.pushed = place.to.filter(|_| newest_first && !place.away);
        }
        if let Some(to) = place.to {
            place.top = to;
        }
        let first = ((place.top / LINE_PX) as usize)
            .saturating_sub(AHEAD)
            .min(total.saturating_sub(1));
        let style = shared.style.get_value();
        let drawn = Drawn {
            version: feed.rows.version,
            total,
            first,
            newest_first,
            style,
            tick: if style == Style::Relative {
                (frame.now_us / 250e3) as i64
            } else {
                0
            },
            opened: shared.opened.get_untracked(),
        };
        let in_view = (place.height / LINE_PX) as usize + 2;
        if let Some(last) = place.drawn.as_ref().filter(|_| place.to.is_none())
            && (*last == drawn
                || frame.now_us - place.drawn_us < FLOOD_US && last.is_flooded_by(&drawn, in_view as u64))
        {
            return;
        }
        place.drawn_us = frame.now_us;
        place.drawn_end = place.below.unwrap_or(feed.rows.end());
        let many = feed.cursor.as_ref().is_some_and(|cursor| cursor.next.len() > 1);
        let mut active_line = String::new();
        for (at, line) in on_lines.iter().enumerate() {
            let at_place = first + at;
            let number = (at_place < total && at < in_view + 2 * AHEAD)
                .then(|| {
                    feed.rows
                        .shown_at(if newest_first { total - 1 - at_place } else { at_place })
                })
                .flatten();
            line.fill(&feed, number, many, shared, frame.now_us);
            let chosen = number.is_some() && number == drawn.opened;
            put(line.chosen, chosen);
            if chosen {
                active_line = id_of(at);
            }
        }
        put(active, active_line);
        style_of(spacer, "height", &px(whole_px));
        style_of(
            window,
            "transform",
            &["translateY(", &px(first as f64 * LINE_PX), ")"].concat(),
        );
        place.drawn = Some(drawn);
        if follows_end || place.to.take().is_some() {
            node.set_scroll_top(place.top as i32);
        }
    });
    let on_place = Rc::clone(&place);
    let scrolled = move |_| {
        let Some(node) = scroller.get_untracked() else { return };
        let mut place = on_place.borrow_mut();
        place.top = f64::from(node.scroll_top());
        place.height = f64::from(node.client_height());
        let at_newest = match shared.newest_first.get_untracked() {
            true => place.top < LINE_PX / 2.0,
            false => place.top + place.height > f64::from(node.scroll_height()) - LINE_PX,
        };
        place.away = !at_newest;
    };
    let on_place = Rc::clone(&place);
    let to_newest = click(move || {
        let mut place = on_place.borrow_mut();
        place.away = false;
        place.pushed = None;
        place.to = shared.newest_first.get_untracked().then_some(0.0);
        shared.pinned.set_value(false);
        shared.opened.set(None);
        place.drawn = None;
        if let Some(node) = scroller.get_untracked() {
            let _ = node.focus();
        }
    });
    let open = move |number: u64| shared.opened.set(Some(number));
    let on_place = Rc::clone(&place);
    let key = move |event: ev::KeyboardEvent| {
        let step = match event.key().as_str() {
            "ArrowDown" => 1,
            "ArrowUp" => -1,
            "PageDown" => 10,
            "PageUp" => -10,
            "Home" => i64::MIN,
            "End" => i64::MAX,
            "Escape" => {
                shared.opened.set(None);
                return;
            }
            _ => return,
        };
        event.prevent_default();
        let number = {
            let handle = ui.handle();
            let feed = handle.feed();
            let mut place = on_place.borrow_mut();
            step_to(&feed, &mut place, shared, step)
        };
        if let Some(number) = number {
            open(number);
        }
    };
    let row = |at: usize, line: Line| {
        let open = move |_| {
            if let Some(number) = line.number.get_value() {
                open(number);
            }
        };
        view! {
            <div id=id_of(at) class=class(line.look) role="option" aria-selected=selected(line.chosen) on:click=open>
                <span class="at">{live(line.time)}</span>
                <span class="offset">{live(line.offset)}</span>
                <span class="data">{live(line.data)}</span>
                <span class="size">{live(line.size)}</span>
            </div>
        }
    };
    let rows: Vec<_> = lines.iter().enumerate().map(|(at, line)| row(at, *line)).collect();
    view! {
        <button class=class(newer_look) hidden=if_empty(newer) on:click=to_newest>{live(newer)}</button>
        <div class="rows" node_ref=scroller tabindex="0" role="listbox" aria-label="Events; arrow keys open one after the other"
            aria-activedescendant=live(active) on:scroll=scrolled on:keydown=key>
            <div class="spacer" role="presentation" node_ref=spacer>
                <div role="presentation" node_ref=window>{rows}</div>
            </div>
        </div>
    }
    .into_any()
}

fn selected(chosen: Flag) -> impl Fn() -> &'static str + Copy + Send + Sync {
    move || if chosen.get() { "true" } else { "false" }
}

fn id_of(at: usize) -> String {
    ["row-", &*format::plain(at as f64)].concat()
}

fn px(value: f64) -> String {
    [&*format::plain(value), "px"].concat()
}

/// By the object model, which the content security policy allows.
fn style_of(node: NodeRef<Div>, name: &str, value: &str) {
    if let Some(node) = node.get_untracked() {
        let _ = (*node).style().set_property(name, value);
    }
}

/// The row so many lines away from the one that is opened, brought into view.
fn step_to(feed: &Feed, place: &mut Place, shared: Shared, step: i64) -> Option<u64> {
    let rows = &feed.rows;
    let newest_first = shared.newest_first.get_untracked();
    let below = *place.below.get_or_insert(rows.end());
    let total = if newest_first {
        rows.shown_below(below)
    } else {
        rows.shown()
    };
    let last = i64::try_from(total).ok()? - 1;
    let from = match shared.opened.get_untracked() {
        Some(number) => line_of(feed, number, total, newest_first),
        // The first step goes to the newest that is in view.
        None if step.abs() == 1 => (place.top / LINE_PX).ceil() as i64 - step,
        None => 0,
    };
    let to = from.saturating_add(step).clamp(0, last.max(0));
    let at = usize::try_from(if newest_first { last - to } else { to }).ok()?;
    let number = rows.shown_at(at)?;
    place.show(to);
    Some(number)
}

/// On which line a row is.
fn line_of(feed: &Feed, number: u64, total: usize, newest_first: bool) -> i64 {
    let at = feed.rows.shown_below(number) as i64;
    if newest_first { total as i64 - 1 - at } else { at }
}

impl Place {
    /// Brings a line into view.
    fn show(&mut self, line: i64) {
        let top = line.max(0) as f64 * LINE_PX;
        if top < self.top {
            self.to = Some(top);
        } else if top + LINE_PX > self.top + self.height {
            self.to = Some(top + LINE_PX - self.height);
        }
    }
}

impl Line {
    fn fill(&self, feed: &Feed, number: Option<u64>, many: bool, shared: Shared, now_us: f64) {
        self.number.set_value(number);
        match number.and_then(|number| feed.rows.get(number)) {
            None => put(self.look, "none"),
            Some(Row::Event(item)) => {
                put(self.look, "line");
                put(self.time, shared.moment(item.times.produced_us, now_us));
                put(self.offset, offset(item, many));
                say(self.data, &[item.preview()]);
                put(self.size, format::bytes(item.bytes as f64));
            }
            Some(Row::Gap(gap)) => self.gap(gap.partition, gap.from_offset, gap.count, Some(gap.reason), many),
            Some(Row::Hole(from, count)) => self.gap(0, *from, *count, None, false),
        }
    }

    fn gap(&self, partition: u32, from: u64, count: Option<u64>, reason: Option<GapReason>, many: bool) {
        let is_loss = reason.is_none_or(GapReason::is_loss);
        put(self.look, if is_loss { "line gap lost" } else { "line gap" });
        put(self.time, String::from("gap"));
        put(self.offset, place_of(partition, from, many));
        put(self.data, words(count, reason));
        put(self.size, String::new());
    }
}

fn offset(item: &Item, many: bool) -> String {
    place_of(item.partition, item.offset, many)
}

fn place_of(partition: u32, offset: u64, many: bool) -> String {
    let offset = format::count(offset);
    match many {
        true => [&*format::count(partition.into()), "/", &offset].concat(),
        false => offset,
    }
}

/// What is missing, and why.
pub(super) fn words(count: Option<u64>, reason: Option<GapReason>) -> String {
    let why = match reason {
        Some(GapReason::Retention) => "not kept any more",
        Some(GapReason::Epoch) => "the log behind the topic is another one",
        Some(GapReason::Superseded) => "newer values took their place: nothing that counts was lost",
        Some(GapReason::Duplicate) => "the engine holds them twice: nothing was lost",
        Some(GapReason::Fenced) => "a leader that leads no more appended them: nothing that counts was lost",
        Some(GapReason::Vacant) => "the engine gave these offsets to no event: nothing was lost",
        Some(GapReason::Lost) => "the log lost them",
        None => "nobody said so: please report this with the server's log",
    };
    match count {
        Some(1) => ["1 event is not here: ", why].concat(),
        Some(count) => [&*format::count(count), " events are not here: ", why].concat(),
        None => ["an unknown number of events is not here: ", why].concat(),
    }
}
