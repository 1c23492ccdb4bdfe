//! "Try it": a burst of requests from this page, drawn as each is admitted or refused, beside what the server counted.

use std::cell::RefCell;
use std::rc::Rc;

use freshet_wire::{LimitCounts, RouteClass};
use leptos::ev;
use leptos::html::{Canvas, Input};
use leptos::prelude::*;
use leptos::task::spawn_local;

use super::super::bind::{Flag, Text, if_empty, is, live, say, text};
use super::super::chart::palette::Palette;
use super::super::chart::surface::{FONT, Surface};
use super::super::frame::{on_frame, put};
use super::super::panel::{Empty, Rows, picture, tools};
use super::super::{Ui, format};
use super::tables::{fill, rows, table};
use super::words::between;
use crate::api::{self, Failure, Tried};
use crate::model::Handle;
use crate::route::View;
use crate::wait::after;

const MOST: u32 = 2000;
const MOST_HZ: f64 = 1000.0;

/// A request of the burst; times are microseconds since the burst began.
struct Shot {
    sent_us: f64,
    /// `None`: no answer yet. 0: none came.
    status: Option<u16>,
    took_us: f64,
    left: String,
}

#[derive(Default)]
struct Burst {
    planned: u32,
    shots: Vec<Shot>,
    /// What the server counted of its class since it began.
    counted: Option<[u64; 3]>,
    /// The server's counters began anew meanwhile.
    restarted: bool,
    newest: Option<Tried>,
    why: String,
    changed: bool,
}

impl Burst {
    /// Admitted, refused with 429, anything else; of those that were answered.
    fn counts(&self) -> [u64; 3] {
        let mut counts = [0; 3];
        for status in self.shots.iter().filter_map(|shot| shot.status) {
            counts[place(status)] += 1;
        }
        counts
    }

    fn is_answered(&self) -> bool {
        self.shots.len() == self.planned as usize && self.shots.iter().all(|shot| shot.status.is_some())
    }
}

fn place(status: u16) -> usize {
    match status {
        204 => 0,
        429 => 1,
        _ => 2,
    }
}

type Shared = Rc<RefCell<Burst>>;

pub fn try_it(ui: Ui) -> AnyView {
    let (number, rate, read) = (
        NodeRef::<Input>::new(),
        NodeRef::<Input>::new(),
        NodeRef::<Input>::new(),
    );
    let canvas = NodeRef::<Canvas>::new();
    let (as_table, list) = (Flag::new(false), Rows::default());
    let busy = Flag::new(false);
    let (head, verdict, why) = (text("nothing was sent yet"), Text::default(), Text::default());
    let headers = text("The headers of the newest answer stand here once there is one.");
    let counts = rows::<3>(3);
    let on_counts = counts.clone();
    let empty = Empty {
        title: text("No burst yet"),
        text: text("Each request is a line: upwards as it is admitted, downwards and red as it is refused."),
    };
    let burst = Shared::default();
    let on_burst = Rc::clone(&burst);
    let mut surface: Option<Surface> = None;
    on_frame(move |frame| {
        if ui.view() != View::Limits {
            return;
        }
        if surface.is_none() {
            surface = canvas.get_untracked().and_then(Surface::new);
        }
        let mut burst = on_burst.borrow_mut();
        let changed = std::mem::take(&mut burst.changed);
        if let Some(surface) = &mut surface
            && (surface.fit() | changed | frame.repaint)
            && !surface.is_empty()
        {
            draw(surface, frame.palette, &burst);
        }
        // What was asked for by hand is told also while the pictures are paused.
        if !changed {
            return;
        }
        say(empty.title, &[if burst.planned == 0 { "No burst yet" } else { "" }]);
        if burst.planned > 0 {
            say(empty.text, &[]);
        }
        let [admitted, refused, other] = burst.counts();
        let answered = format::count(admitted + refused + other);
        say(
            head,
            &[&answered, " of ", &format::count(burst.planned.into()), " answered"],
        );
        put(why, burst.why.clone());
        if let Some(newest) = &burst.newest {
            put(headers, written(newest));
        }
        let server = |at: usize| {
            burst
                .counted
                .map_or_else(|| String::from("–"), |counted| format::count(counted[at]))
        };
        let names = ["admitted", "refused (429)", "anything else"];
        let own = [admitted, refused, other];
        fill(
            &on_counts,
            names
                .into_iter()
                .enumerate()
                .map(|(at, name)| [String::from(name), format::count(own[at]), server(at)]),
        );
        let is_read = read.get_untracked().is_some_and(|input| input.checked());
        put(verdict, compared(&burst, own, is_read));
        if as_table.get_untracked() {
            put(list, lines(&burst));
        }
    });
    let again = Rc::clone(&burst);
    Effect::new(move |_| {
        if as_table.get() {
            again.borrow_mut().changed = true;
        }
    });
    let start = move |event: ev::SubmitEvent| {
        event.prevent_default();
        let value = |input: NodeRef<Input>| input.get_untracked().map(|input| input.value_as_number());
        let (Some(number), Some(hz)) = (value(number), value(rate)) else {
            return;
        };
        if busy.get_untracked() || !(number >= 1.0 && number <= f64::from(MOST) && hz > 0.0 && hz <= MOST_HZ) {
            return;
        }
        let class = match read.get_untracked().is_some_and(|input| input.checked()) {
            true => RouteClass::Read,
            false => RouteClass::Try,
        };
        put(busy, true);
        let (burst, handle) = (Rc::clone(&burst), ui.handle());
        *burst.borrow_mut() = Burst {
            planned: number as u32,
            changed: true,
            ..Burst::default()
        };
        spawn_local(async move {
            let result = run(&burst, &handle, class, hz).await;
            let mut burst = burst.borrow_mut();
            if let Err(failure) = result {
                burst.why = ["The server's counters are not known: ", &failure.why].concat();
            }
            burst.changed = true;
            put(busy, false);
        });
    };
    const LABEL: &str = "The burst: a line for each request, upwards where it was admitted, downwards where it was refused. \
        The same is there as a table.";
    let layers = vec![
        view! { <canvas node_ref=canvas role="img" aria-label=LABEL></canvas> }.into_any(),
        empty.view(),
    ];
    view! {
        <section class="panel try" aria-label="Try it">
            <div class="head">
                <h2>"Try it"</h2>
                <span class="dim" role="status">{live(head)}</span>
                <span class="end">{tools("The burst", as_table)}</span>
            </div>
            <form class="bar" on:submit=start>
                <label for="t-number">"requests"</label>
                <input id="t-number" type="number" node_ref=number min="1" max="2000" step="1" value="60" required/>
                <label for="t-rate">"a second"</label>
                <input id="t-rate" type="number" node_ref=rate min="0.1" max="1000" step="any" value="20" required/>
                <label class="check"><input id="t-read" type="checkbox" node_ref=read/>" spend the quota of read"</label>
                <button class="go" type="submit" disabled=is(busy)>"Send the burst"</button>
            </form>
            {picture(layers, as_table, "The burst, request by request, the newest first", &["sent after", "answer", "took", "left, as the server says"], list)}
            <div class="parts">
                <div>
                    {table("Counted here and by the server", ["since the burst began", "by this page", "by the server"], &counts)}
                    <p class="dim verdict" role="status" hidden=if_empty(verdict)>{live(verdict)}</p>
                    <p class="state lost" role="alert" hidden=if_empty(why)>{live(why)}</p>
                </div>
                <pre tabindex="0" role="region" aria-label="Headers of the newest answer">{live(headers)}</pre>
            </div>
        </section>
    }
    .into_any()
}

/// Sends the burst on its schedule and waits until all of it is answered; what the server counted meanwhile.
async fn run(burst: &Shared, handle: &Handle, class: RouteClass, hz: f64) -> Result<(), Failure> {
    let before = counted(class).await;
    let begun_us = handle.page_us();
    let planned = burst.borrow().planned;
    for number in 0..planned {
        // On a schedule: a timer that came late delays no more than one.
        let due_us = begun_us + f64::from(number) * 1e6 / hz;
        let wait_us = due_us - handle.page_us();
        if wait_us > 0.0 {
            after(wait_us).await;
        }
        spawn_local(one(Rc::clone(burst), handle.clone(), class, begun_us));
    }
    // A shot notes that it was sent when its task begins.
    while !burst.borrow().is_answered() {
        after(20_000.0).await;
    }
    let (since_us, before) = before?;
    let (since_now_us, now) = counted(class).await?;
    let mut burst = burst.borrow_mut();
    burst.restarted = since_now_us != since_us;
    burst.counted = (!burst.restarted).then(|| between(&before, &now));
    Ok(())
}

async fn one(burst: Shared, handle: Handle, class: RouteClass, begun_us: f64) {
    let sent_us = handle.page_us();
    let at = {
        let mut burst = burst.borrow_mut();
        burst.changed = true;
        burst.shots.push(Shot {
            sent_us: sent_us - begun_us,
            status: None,
            took_us: 0.0,
            left: String::new(),
        });
        burst.shots.len() - 1
    };
    let result = api::try_limits(class.name()).await;
    let took_us = handle.page_us() - sent_us;
    let mut burst = burst.borrow_mut();
    burst.changed = true;
    let Some(shot) = burst.shots.get_mut(at) else { return };
    shot.took_us = took_us;
    match result {
        Ok(tried) => {
            shot.status = Some(tried.status);
            shot.left = tried.left.clone().unwrap_or_default();
            burst.newest = Some(tried);
        }
        Err(failure) => {
            shot.status = Some(0);
            shot.left = failure.why;
        }
    }
}

/// The server's counters of a class, and since when they run; asks again for some seconds when the quota for asking is spent.
async fn counted(class: RouteClass) -> Result<(i64, LimitCounts), Failure> {
    let mut tries = 0;
    loop {
        match api::limits().await {
            Ok(limits) => {
                let of_class = limits.classes.iter().find(|it| it.class == class);
                return Ok((limits.since_us, of_class.map(|it| it.counts).unwrap_or_default()));
            }
            Err(failure) if failure.status == Some(429) && tries < 5 => {
                tries += 1;
                after(1e3 * f64::from(failure.retry_after_ms.unwrap_or(1000).min(1000))).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

fn compared(burst: &Burst, own: [u64; 3], is_read: bool) -> String {
    let Some(server) = burst.counted else {
        return String::from(match burst.restarted {
            true => "The server was started again meanwhile: its counters began anew.",
            false => "",
        });
    };
    String::from(match server == own {
        true => "The two agree exactly.",
        false if is_read => {
            "The server's has more: polling, this view's own questions and other clients spend the quota of read, too."
        }
        false if server.iter().zip(own).all(|(server, own)| *server >= own) => {
            "The server's has more: somebody else tried the limits meanwhile."
        }
        false => "The two differ: an answer was lost on the way, or a request never arrived.",
    })
}

/// The answer's first line and its headers about limits, as they came.
fn written(tried: &Tried) -> String {
    let mut out = ["HTTP ", &*tried.status.to_string()].concat();
    for (name, value) in [
        ("RateLimit-Policy", &tried.policy),
        ("RateLimit", &tried.left),
        ("Retry-After", &tried.retry_after),
    ] {
        if let Some(value) = value {
            for part in ["\n", name, ": ", value] {
                out.push_str(part);
            }
        }
    }
    out
}

fn lines(burst: &Burst) -> Vec<Vec<String>> {
    let line = |shot: &Shot| {
        let answer = match shot.status {
            None => String::from("waiting"),
            Some(0) => String::from("no answer"),
            Some(204) => String::from("admitted (204)"),
            Some(429) => String::from("refused (429)"),
            Some(status) => ["HTTP ", &*status.to_string()].concat(),
        };
        vec![
            format::latency_text(shot.sent_us),
            answer,
            format::latency_text(shot.took_us),
            shot.left.clone(),
        ]
    };
    burst.shots.iter().rev().take(200).map(line).collect()
}

fn draw(surface: &Surface, palette: &Palette, burst: &Burst) {
    let pen = &surface.pen;
    surface.clear();
    if burst.planned == 0 {
        return;
    }
    let (left, right) = (8.0, surface.width - 8.0);
    let (top, bottom) = (16.0, surface.height - 18.0);
    let middle = surface.crisp((top + bottom) / 2.0);
    let span_us = burst.shots.last().map_or(0.0, |shot| shot.sent_us).max(1e6);
    pen.set_font(FONT);
    pen.set_line_width(1.0);
    pen.set_stroke_style(&palette.edge);
    surface.line(left, middle, right, middle);
    surface.text("admitted", left, top - 5.0, "left", &palette.dim);
    surface.text("refused", left, bottom + 13.0, "left", &palette.lost);
    surface.text(
        &format::latency_text(span_us),
        right,
        bottom + 13.0,
        "right",
        &palette.faint,
    );
    pen.set_line_width(((right - left) / f64::from(burst.planned.max(1)) * 0.6).clamp(1.0, 4.0));
    for (at, end, colour) in [
        (0, top, &palette.ink),
        (1, bottom, &palette.lost),
        (2, bottom, &palette.edge),
    ] {
        pen.set_stroke_style(colour);
        pen.begin_path();
        for shot in burst.shots.iter().filter(|shot| shot.status.map(place) == Some(at)) {
            let x = left + 3.0 + shot.sent_us / span_us * (right - left - 6.0);
            pen.move_to(x, middle);
            pen.line_to(x, end);
        }
        pen.stroke();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shot(status: Option<u16>) -> Shot {
        Shot {
            sent_us: 0.0,
            status,
            took_us: 0.0,
            left: String::new(),
        }
    }

    #[test]
    fn each_answer_counts_once_in_its_place_and_what_waits_in_none() {
        let mut burst = Burst {
            planned: 5,
            shots: [Some(204), Some(429), Some(429), Some(503), None].map(shot).into(),
            ..Burst::default()
        };
        assert_eq!(burst.counts(), [1, 2, 1]);
        assert!(!burst.is_answered());
        burst.shots[4].status = Some(0);
        assert_eq!(burst.counts(), [1, 2, 2]);
        assert!(burst.is_answered());
    }

    #[test]
    fn the_two_counts_agree_only_if_they_are_the_same() {
        let compared = |counted, restarted| {
            let burst = Burst {
                counted,
                restarted,
                ..Burst::default()
            };
            super::compared(&burst, [1, 2, 0], false)
        };
        assert_eq!(compared(Some([1, 2, 0]), false), "The two agree exactly.");
        assert!(compared(Some([1, 3, 0]), false).contains("somebody else"));
        assert!(compared(Some([1, 1, 0]), false).contains("differ"));
        assert_eq!(compared(None, false), "");
        assert!(compared(None, true).contains("started again"));
    }

    #[test]
    fn headers_are_shown_as_they_came() {
        let tried = Tried {
            status: 429,
            policy: Some(String::from("\"try\";q=120;w=60")),
            left: None,
            retry_after: Some(String::from("2")),
        };
        assert_eq!(
            written(&tried),
            "HTTP 429\nRateLimit-Policy: \"try\";q=120;w=60\nRetry-After: 2"
        );
    }
}
