//! Which view the page shows, and of what: the members `view`, `topic` and `section` of the address's fragment, for example
//! `#view=topics&topic=orders`. Without them the page shows Compare, so links from before there were views keep working;
//! what else the fragment says (`choice.rs`) stays as it is.

use freshet_wire::MAX_TOPIC_BYTES;

/// The views of the page; all of them stay as they are while another one is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    #[default]
    Compare,
    Leader,
    Topics,
    Limits,
    Config,
}

impl View {
    pub const ALL: [Self; 5] = [Self::Compare, Self::Leader, Self::Topics, Self::Limits, Self::Config];

    /// In the address.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compare => "compare",
            Self::Leader => "leader",
            Self::Topics => "topics",
            Self::Limits => "limits",
            Self::Config => "config",
        }
    }

    /// On its tab.
    pub fn title(self) -> &'static str {
        match self {
            Self::Compare => "Compare",
            Self::Leader => "Leader",
            Self::Topics => "Topics",
            Self::Limits => "Limits",
            Self::Config => "Config",
        }
    }
}

/// Longer than any section's name.
const MAX_SECTION_BYTES: usize = 40;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Route {
    pub view: View,
    /// The topic that the Topics view reads.
    pub topic: Option<String>,
    /// The part of the Config view that is looked at.
    pub section: Option<String>,
}

impl Route {
    /// Where the address says the reader is.
    pub fn current() -> Self {
        let decoded = js_sys::decode_uri_component(fragment().trim_start_matches('#'));
        decoded.map_or_else(|_| Self::default(), |text| Self::read(&String::from(text)))
    }

    /// Puts it into the address; an entry of the browser's history more, if it is another one.
    pub fn enter(&self) {
        if let Some(window) = web_sys::window() {
            let _ = window
                .location()
                .set_hash(&self.write(fragment().trim_start_matches('#')));
        }
    }

    fn read(text: &str) -> Self {
        let mut route = Self::default();
        for member in text.split('&') {
            match member.split_once('=') {
                Some(("view", name)) => {
                    route.view = View::ALL
                        .into_iter()
                        .find(|view| view.name() == name)
                        .unwrap_or_default();
                }
                Some(("topic", name)) if !name.is_empty() && name.len() <= MAX_TOPIC_BYTES => {
                    route.topic = Some(name.to_owned());
                }
                Some(("section", name)) if !name.is_empty() && name.len() <= MAX_SECTION_BYTES => {
                    route.section = Some(name.to_owned());
                }
                _ => {}
            }
        }
        route
    }

    /// The fragment with this route in it; its other members stay.
    fn write(&self, fragment: &str) -> String {
        let mut text = ["view=", self.view.name()].concat();
        if let Some(topic) = &self.topic {
            text.push_str("&topic=");
            text.push_str(topic);
        }
        if let Some(section) = &self.section {
            text.push_str("&section=");
            text.push_str(section);
        }
        let is_ours = |member: &&str| {
            ["view=", "topic=", "section="]
                .iter()
                .any(|own| member.starts_with(own))
        };
        for member in fragment
            .split('&')
            .filter(|member| !member.is_empty() && !is_ours(member))
        {
            text.push('&');
            text.push_str(member);
        }
        text
    }
}

fn fragment() -> String {
    let window = web_sys::window();
    window
        .and_then(|window| window.location().hash().ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(view: View, topic: Option<&str>) -> Route {
        Route {
            view,
            topic: topic.map(str::to_owned),
            section: None,
        }
    }

    #[test]
    fn a_link_from_before_there_were_views_shows_compare_and_keeps_its_choice() {
        assert_eq!(Route::read("topics=host.cpu&interval=500"), Route::default());
        let there = route(View::Topics, Some("orders"));
        let text = there.write("topics=host.cpu&interval=500");
        assert_eq!(text, "view=topics&topic=orders&topics=host.cpu&interval=500");
        assert_eq!(Route::read(&text), there);
        let back = route(View::Compare, Some("orders")).write(&text);
        assert_eq!(back, "view=compare&topic=orders&topics=host.cpu&interval=500");
    }

    #[test]
    fn what_is_wrong_is_passed_over() {
        assert_eq!(Route::read("view=nothing&topic="), Route::default());
        assert_eq!(Route::read(&["topic=", &"x".repeat(250)].concat()), Route::default());
        assert_eq!(route(View::Topics, None).write(""), "view=topics");
    }

    #[test]
    fn a_link_to_a_section_is_kept_until_another_view_is_gone_to() {
        let route_there = Route::read("view=config&section=limit&interval=500");
        assert_eq!(
            (route_there.view, route_there.section.as_deref()),
            (View::Config, Some("limit"))
        );
        let text = route_there.write("view=config&section=source&interval=500");
        assert_eq!(text, "view=config&section=limit&interval=500");
        assert_eq!(route(View::Limits, None).write(&text), "view=limits&interval=500");
    }

    proptest! {
        #[test]
        fn a_route_reads_back_as_it_was_written(topics: bool, topic in prop::option::of("[a-z0-9._ü水-]{1,30}"), rest in "[a-z=&]{0,20}") {
            let route = route(if topics { View::Topics } else { View::Compare }, topic.as_deref());
            let once = route.write(&rest);
            prop_assert_eq!(Route::read(&once), route.clone());
            prop_assert_eq!(route.write(&once), once.clone(), "written twice it is there once");
        }
    }
}
