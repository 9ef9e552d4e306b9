//! Paths: those that are written out, `/api/v1/streams/{name}`, and those below a stream, `/NAME/whep`, `/NAME/index.m3u8`, `/NAME/`.
//!
//! Belongs here: which routes a path means, and what its parts are. Does not belong here: what the routes are, and who may use them
//! (`super::routes`).
//!
//! A stream's name may hold slashes, so paths below one are read from their end; all others from their start.

use percent_encoding::percent_decode_str;

use super::routes::Route;

/// How the paths of all routes below a stream begin.
pub(super) const NAME: &str = "/{+name}/";

/// The routes whose paths are written out.
#[derive(Default)]
pub(super) struct Named {
    /// By what stands up to the second slash: most paths that are asked for are below a stream, and shall not be compared with all others.
    begins: Vec<(&'static str, Vec<Pattern>)>,
}

/// The routes below any stream.
#[derive(Default)]
pub(super) struct Below {
    /// The longest first, and what is written out before what is not: `whep/{session}` is no file.
    patterns: Vec<Pattern>,
}

/// The routes of one path.
pub(super) struct Pattern {
    /// Of a path that is written out all, of one below a stream what follows the name.
    parts: Vec<Part>,
    pub(super) routes: Vec<&'static Route>,
}

/// Between two slashes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Literal(&'static str),
    /// `{key}` and what must follow it.
    Param {
        key: &'static str,
        suffix: &'static str,
    },
    /// `{*key}`: all that is left, slashes too.
    Rest {
        key: &'static str,
    },
}

/// What stands in a path where its route has a parameter, percent-decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(&'static str, String)>);

impl Params {
    /// What stands there; nothing if the route has no such parameter.
    pub(super) fn get(&self, key: &str) -> &str {
        let found = self.0.iter().find(|(name, _)| *name == key);
        found.map_or("", |(_, value)| value)
    }

    /// What is no UTF-8 is no name, and its place is taken by the character that says so.
    fn garbled() -> Self {
        Self(vec![("name", "\u{FFFD}".to_owned())])
    }
}

impl Named {
    /// Of those routes that are not below a stream.
    pub(super) fn new(routes: impl Iterator<Item = &'static Route>) -> Self {
        let mut named = Self::default();
        for route in routes.filter(|route| !route.path.starts_with(NAME)) {
            let path = route.path.trim_start_matches('/');
            let begin = path.split('/').next().unwrap_or_default();
            let place = named.begins.iter().position(|(known, _)| *known == begin);
            let place = place.unwrap_or_else(|| {
                named.begins.push((begin, Vec::new()));
                named.begins.len() - 1
            });
            add(&mut named.begins[place].1, path, route);
        }
        for (_, patterns) in &mut named.begins {
            // What is written out comes before what is not, the ends first: a camera may be called as an object of ours is.
            patterns.sort_by(|a, b| a.parts.iter().rev().cmp(b.parts.iter().rev()));
        }
        named
    }

    /// The routes that a path means, given without the slash at its start, and the parameters in it.
    pub(super) fn find(&self, path: &str) -> Option<(&Pattern, Params)> {
        let begin = path.split('/').next().unwrap_or_default();
        let (_, patterns) = self.begins.iter().find(|(known, _)| *known == begin)?;
        patterns
            .iter()
            .find_map(|pattern| Some((pattern, pattern.params_from_start(path)?)))
    }
}

impl Below {
    /// Of those routes that are below a stream.
    pub(super) fn new(routes: impl Iterator<Item = &'static Route>) -> Self {
        let mut below = Self::default();
        for route in routes {
            if let Some(end) = route.path.strip_prefix(NAME) {
                add(&mut below.patterns, end, route);
            }
        }
        let order = |a: &Pattern, b: &Pattern| b.parts.len().cmp(&a.parts.len()).then(a.parts.cmp(&b.parts));
        below.patterns.sort_by(order);
        below
    }

    /// The routes that a path means, given without the slash at its start, and the parameters in it: the stream's `name` among them, which
    /// may turn out not to be one.
    pub(super) fn find(&self, path: &str) -> Option<(&Pattern, Params)> {
        self.patterns
            .iter()
            .find_map(|pattern| Some((pattern, pattern.params_from_end(path)?)))
    }

    /// Whether there is a page at this path with a slash behind it.
    pub(super) fn lacks_slash(&self, path: &str) -> bool {
        let page = |pattern: &Pattern| pattern.parts == [Part::Literal("")];
        self.patterns.iter().any(page) && decoded(path).is_some_and(|name| name.parse::<media::StreamName>().is_ok())
    }
}

/// Adds a route to those of its path.
fn add(patterns: &mut Vec<Pattern>, path: &'static str, route: &'static Route) {
    let parts: Vec<_> = path.split('/').map(Part::parse).collect();
    match patterns.iter_mut().find(|pattern| pattern.parts == parts) {
        Some(pattern) => pattern.routes.push(route),
        None => patterns.push(Pattern {
            parts,
            routes: vec![route],
        }),
    }
}

impl Pattern {
    /// `None`: the path is another.
    fn params_from_start(&self, path: &str) -> Option<Params> {
        let mut rest = Some(path);
        let mut values = Vec::new();
        for part in &self.parts {
            let left = rest?;
            let (text, after) = left
                .split_once('/')
                .map_or((left, None), |(text, after)| (text, Some(after)));
            rest = match part {
                Part::Rest { key } => {
                    values.push((*key, Some(left).filter(|left| !left.is_empty())?));
                    None
                }
                part => {
                    values.extend(part.value(text)?);
                    after
                }
            };
        }
        if rest.is_some() {
            return None;
        }
        let decoded = values.into_iter().map(|(key, value)| Some((key, decoded(value)?)));
        Some(decoded.collect::<Option<_>>().map_or_else(Params::garbled, Params))
    }

    /// Of what is below a stream. `None`: the path is another.
    fn params_from_end(&self, path: &str) -> Option<Params> {
        // Most are another: that is seen before anything is decoded.
        let mut rest = path;
        for part in self.parts.iter().rev() {
            let (before, text) = rest.rsplit_once('/')?;
            part.value(text)?;
            rest = before;
        }
        if rest.is_empty() {
            return None;
        }
        let ends = self.parts.iter().rev().zip(path.rsplit('/'));
        let found = ends.filter_map(|(part, text)| part.value(text).flatten());
        let decoded = found
            .chain([("name", rest)])
            .map(|(key, value)| Some((key, decoded(value)?)));
        decoded.collect::<Option<_>>().map(Params)
    }
}

impl Part {
    fn parse(text: &'static str) -> Self {
        match text.strip_prefix('{').and_then(|text| text.split_once('}')) {
            Some((key, suffix)) => match key.strip_prefix('*') {
                Some(key) => Self::Rest { key },
                None => Self::Param { key, suffix },
            },
            None => Self::Literal(text),
        }
    }

    /// The parameter in what stands between two slashes, if it is to be one; `None`: this does not belong there.
    fn value<'a>(&self, text: &'a str) -> Option<Option<(&'static str, &'a str)>> {
        match self {
            Self::Literal(literal) => (*literal == text).then_some(None),
            Self::Param { key, suffix } => {
                let value = text.strip_suffix(suffix).filter(|value| !value.is_empty())?;
                Some(Some((*key, value)))
            }
            Self::Rest { .. } => None,
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::super::routes::{Target, Verb};
    use super::*;
    use rstest::rstest;

    const fn route(verb: Verb, path: &'static str) -> Route {
        let target = Target::Public {
            why: "nobody is asked in this test",
            handler: |_| unreachable!(),
        };
        let about = None;
        Route {
            verb,
            path,
            target,
            about,
        }
    }

    const ROUTES: [Route; 7] = [
        route(Verb::Get, "/healthz"),
        route(Verb::Get, "/{+name}/{file}.m4s"),
        route(Verb::Post, "/{+name}/whep"),
        route(Verb::Options, "/{+name}/whep"),
        route(Verb::Delete, "/{+name}/whep/{session}"),
        route(Verb::Get, "/{+name}/index.m3u8"),
        route(Verb::Get, "/{+name}/"),
    ];

    #[rstest]
    #[case("cam/whep", "cam", "/{+name}/whep", "")]
    #[case("house/cam/whep", "house/cam", "/{+name}/whep", "")]
    #[case("house%2Fcam/whep", "house/cam", "/{+name}/whep", "")]
    #[case("house/cam/whep/abc", "house/cam", "/{+name}/whep/{session}", "abc")]
    #[case("house/cam/whep/abc.m4s", "house/cam", "/{+name}/whep/{session}", "abc.m4s")]
    #[case("cam/7.2.m4s", "cam", "/{+name}/{file}.m4s", "7.2")]
    #[case("cam/index.m3u8", "cam", "/{+name}/index.m3u8", "")]
    #[case("house/cam/", "house/cam", "/{+name}/", "")]
    #[case("cam/whep/", "cam/whep", "/{+name}/", "")]
    #[case("cam//whep", "cam/", "/{+name}/whep", "")]
    fn paths_are_read_from_their_end(
        #[case] path: &str,
        #[case] name: &str,
        #[case] route: &str,
        #[case] parameter: &str,
    ) {
        let below = Below::new(ROUTES.iter());
        let (pattern, params) = below.find(path).unwrap();
        assert_eq!((params.get("name"), pattern.routes[0].path), (name, route));
        let key = if route.ends_with(".m4s") { "file" } else { "session" };
        assert_eq!(params.get(key), parameter);
        assert_eq!(params.get("other"), "");
    }

    #[rstest]
    #[case("")]
    #[case("/")]
    #[case("cam")]
    #[case("whep")]
    #[case("/whep")]
    #[case("cam/.m4s")]
    #[case("cam/7.mp4")]
    #[case("cam/%FF.m4s")]
    #[case("%FF/whep")]
    #[case("healthz")]
    fn nothing_else_is_one(#[case] path: &str) {
        assert!(Below::new(ROUTES.iter()).find(path).is_none());
    }

    const WRITTEN_OUT: [Route; 11] = [
        route(Verb::Put, "/api/kept/{id}"),
        route(Verb::Get, "/api/{name}/index.m3u8"),
        route(Verb::Get, "/"),
        route(Verb::Get, "/api/streams"),
        route(Verb::Get, "/api/streams/{name}"),
        route(Verb::Put, "/api/streams/{name}"),
        route(Verb::Get, "/api/streams/{name}/viewers"),
        route(Verb::Get, "/assets/{file}"),
        route(Verb::Get, "/assets/pages.css"),
        route(Verb::Get, "/ws/camera/"),
        route(Verb::Get, "/v3/get/{*name}"),
    ];

    #[rstest]
    #[case("", Some(("/", "")))]
    #[case("api/streams", Some(("/api/streams", "")))]
    #[case("api/streams/a%2Fb", Some(("/api/streams/{name}", "a/b")))]
    #[case("api/streams/%FF", Some(("/api/streams/{name}", "\u{FFFD}")))]
    #[case("api/streams/viewers/viewers", Some(("/api/streams/{name}/viewers", "viewers")))]
    #[case("assets/pages.css", Some(("/assets/pages.css", "")))]
    #[case("assets/x.js", Some(("/assets/{file}", "")))]
    #[case("ws/camera/", Some(("/ws/camera/", "")))]
    #[case("api/kept/a", Some(("/api/kept/{id}", "")))]
    #[case("api/kept/index.m3u8", Some(("/api/{name}/index.m3u8", "kept")))]
    #[case("v3/get/a/b", Some(("/v3/get/{*name}", "a/b")))]
    #[case("v3/get//", Some(("/v3/get/{*name}", "/")))]
    #[case("/", None)]
    #[case("api", None)]
    #[case("api/streams/", None)]
    #[case("api//streams", None)]
    #[case("api/streams/a/b", None)]
    #[case("%61pi/streams", None)]
    #[case("assets/", None)]
    #[case("assets/../api", None)]
    #[case("ws/camera", None)]
    #[case("v3/get/", None)]
    #[case("v3/get", None)]
    #[case("cam/whep", None)]
    fn what_is_written_out_is_read_from_its_start(#[case] path: &str, #[case] expected: Option<(&str, &str)>) {
        let named = Named::new(WRITTEN_OUT.iter());
        let found = named.find(path);
        let found = found
            .as_ref()
            .map(|(pattern, params)| (pattern.routes[0].path, params.get("name")));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_below_a_stream_is_not_written_out() {
        let named = Named::new(ROUTES.iter());
        assert!(named.find("healthz").is_some());
        assert!(named.find("{+name}/whep").is_none());
        assert!(Below::new(WRITTEN_OUT.iter()).find("api/streams/a/viewers").is_none());
    }

    #[test]
    fn methods_of_one_path_stand_together() {
        let below = Below::new(ROUTES.iter());
        let (pattern, _) = below.find("cam/whep").unwrap();
        let verbs: Vec<_> = pattern.routes.iter().map(|route| route.verb).collect();
        assert_eq!(verbs, [Verb::Post, Verb::Options]);
    }

    #[test]
    fn a_page_is_known_by_its_slash() {
        let below = Below::new(ROUTES.iter());
        for (path, expected) in [
            ("a/b", true),
            ("a%2Fb", true),
            ("a b", false),
            ("a/whep", false),
            ("", false),
        ] {
            assert_eq!(below.lacks_slash(path), expected, "{path}");
        }
        assert!(!Below::new(ROUTES[..3].iter()).lacks_slash("a/b"), "there are no pages");
    }
}
