//! Paths below a stream: `/NAME/whep`, `/NAME/index.m3u8`, `/NAME/`.
//!
//! Belongs here: which routes such a path means, and what its parts are. Does not belong here: what the routes are, and who may use them
//! (`super::routes`).
//!
//! A name may hold slashes. The router takes a parameter to the next slash only, so these paths are read from their end.

use percent_encoding::percent_decode_str;

use super::routes::Route;

/// How the paths of all routes below a stream begin.
pub(super) const NAME: &str = "/{+name}/";

/// The routes below any stream.
#[derive(Default)]
pub(super) struct Below {
    /// The longest first, and what is written out before what is not: `whep/{session}` is no file.
    patterns: Vec<Pattern>,
}

/// The routes of one path.
pub(super) struct Pattern {
    end: Vec<Part>,
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
}

/// What stands in a path where its route has a parameter, percent-decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    /// What stands there; nothing if the route has no such parameter.
    pub(super) fn get(&self, key: &str) -> &str {
        let found = self.0.iter().find(|(name, _)| name == key);
        found.map_or("", |(_, value)| value)
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Params {
    fn from_iter<I: IntoIterator<Item = (&'a str, &'a str)>>(pairs: I) -> Self {
        let own = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        Self(pairs.into_iter().map(own).collect())
    }
}

impl Below {
    /// Of those routes that are below a stream.
    pub(super) fn new(routes: impl Iterator<Item = &'static Route>) -> Self {
        let mut below = Self::default();
        for route in routes {
            let Some(end) = route.path.strip_prefix(NAME) else {
                continue;
            };
            let end: Vec<_> = end.split('/').map(Part::parse).collect();
            match below.patterns.iter_mut().find(|pattern| pattern.end == end) {
                Some(pattern) => pattern.routes.push(route),
                None => below.patterns.push(Pattern {
                    end,
                    routes: vec![route],
                }),
            }
        }
        let order = |a: &Pattern, b: &Pattern| b.end.len().cmp(&a.end.len()).then(a.end.cmp(&b.end));
        below.patterns.sort_by(order);
        below
    }

    /// The routes that a path means, given without the slash at its start, and the parameters in it: the stream's `name` among them, which
    /// may turn out not to be one.
    pub(super) fn find(&self, path: &str) -> Option<(&Pattern, Params)> {
        self.patterns
            .iter()
            .find_map(|pattern| Some((pattern, pattern.params(path)?)))
    }

    /// Whether there is a page at this path with a slash behind it.
    pub(super) fn lacks_slash(&self, path: &str) -> bool {
        let page = |pattern: &Pattern| pattern.end == [Part::Literal("")];
        self.patterns.iter().any(page) && decoded(path).is_some_and(|name| name.parse::<media::StreamName>().is_ok())
    }
}

impl Pattern {
    fn params(&self, path: &str) -> Option<Params> {
        let mut rest = path;
        let mut params = Vec::with_capacity(self.end.len() + 1);
        for part in self.end.iter().rev() {
            let (before, text) = rest.rsplit_once('/')?;
            rest = before;
            match part {
                Part::Literal(literal) if *literal == text => {}
                Part::Literal(_) => return None,
                Part::Param { key, suffix } => {
                    let value = text.strip_suffix(suffix).filter(|value| !value.is_empty())?;
                    params.push(((*key).to_owned(), decoded(value)?));
                }
            }
        }
        params.push(("name".to_owned(), decoded(rest).filter(|name| !name.is_empty())?));
        Some(Params(params))
    }
}

impl Part {
    fn parse(text: &'static str) -> Self {
        match text.strip_prefix('{').and_then(|text| text.split_once('}')) {
            Some((key, suffix)) => Self::Param { key, suffix },
            None => Self::Literal(text),
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
