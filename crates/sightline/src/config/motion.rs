//! Values of motion, and what can be wrong with them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use device::motion::Mask;

use super::load::Wrong;
use super::settings::{Motion, Settings};
use super::units::{InvalidWord, Span};

/// What is decoded to look for motion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Every picture.
    Full,
    /// Keyframes.
    Thrifty,
}

impl FromStr for Mode {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        match text.trim() {
            "full" => Ok(Self::Full),
            "thrifty" => Ok(Self::Thrifty),
            _ => Err(InvalidWord::new(format!(
                "{text:?} is no mode of motion; there are full (every picture is decoded) and thrifty (keyframes alone)"
            ))),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full",
            Self::Thrifty => "thrifty",
        })
    }
}

/// A part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// In thousandths, 1 to 1,000.
    pub permille: u16,
}

impl FromStr for Share {
    type Err = InvalidWord;

    fn from_str(text: &str) -> Result<Self, InvalidWord> {
        let percent = text
            .trim()
            .strip_suffix('%')
            .and_then(|number| number.trim().parse().ok());
        let permille = percent.map(|percent: f64| (percent * 10.0).round());
        match permille.filter(|permille| (1.0..=1_000.0).contains(permille)) {
            Some(permille) => Ok(Self {
                permille: permille as u16,
            }),
            None => Err(InvalidWord::new(format!(
                "{text:?} is no part of a picture; write it like 0.2%, from 0.1% to 100%"
            ))),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", f64::from(self.permille) / 10.0)
    }
}

/// Polygons of a mask, which are one.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygons {
    corners: Vec<Vec<[f64; 2]>>,
    mask: Mask,
}

impl Polygons {
    /// Where nobody looks.
    pub fn mask(&self) -> Mask {
        self.mask.clone()
    }

    fn new(corners: Vec<Vec<[f64; 2]>>) -> Result<Self, String> {
        let mask = Mask::new(&corners).map_err(|error| error.to_string())?;
        Ok(Self { corners, mask })
    }
}

impl FromStr for Polygons {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let corner = |text: &str| {
            let of = |part: &str| part.parse::<f64>().ok();
            let corner = text.split_once(',').and_then(|(x, y)| Some([of(x)?, of(y)?]));
            corner.ok_or_else(|| format!("{text:?} is no corner; write a polygon like \"0,0 1,0 1,0.3 0,0.3\""))
        };
        let polygons = text.split(';').filter(|polygon| !polygon.trim().is_empty());
        let corners = polygons.map(|polygon| polygon.split_whitespace().map(corner).collect());
        Self::new(corners.collect::<Result<_, _>>()?)
    }
}

impl serde::Serialize for Polygons {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.corners.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Polygons {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrLists;
        impl<'de> serde::de::Visitor<'de> for TextOrLists {
            type Value = Polygons;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("polygons such as [[[0, 0], [1, 0], [1, 0.3], [0, 0.3]]]")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Polygons, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Polygons, A::Error> {
                let mut corners = Vec::new();
                while let Some(polygon) = list.next_element::<Vec<Vec<f64>>>()? {
                    // One more than may be is refused.
                    if corners.len() > Mask::MAX_POLYGONS {
                        continue;
                    }
                    let polygon = polygon.into_iter().map(|corner| {
                        <[f64; 2]>::try_from(corner).map_err(|corner| {
                            serde::de::Error::custom(format!(
                                "a corner is two numbers such as [0.5, 1], not {corner:?}"
                            ))
                        })
                    });
                    corners.push(polygon.collect::<Result<_, A::Error>>()?);
                }
                Polygons::new(corners).map_err(serde::de::Error::custom)
            }
        }
        deserializer.deserialize_any(TextOrLists)
    }
}

impl schemars::JsonSchema for Polygons {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "polygons".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": ["string", "array"],
            "items": { "type": "array", "items": { "type": "array", "items": { "type": "number" } } },
            "format": "list of polygons"
        })
    }
}

/// What is wrong in `[motion]`, and in what tables of streams say of motion.
pub(super) fn wrong(settings: &Settings) -> Vec<Wrong> {
    let of_all = wrong_in("motion", &settings.motion);
    let is_known = of_all.is_some();
    let of_streams = settings.stream.iter().filter_map(|(name, stream)| {
        // What is wrong in the section is told there.
        let own = stream.motion.min_duration.is_some() || !is_known;
        let motion = settings.motion.of_stream(&stream.motion);
        wrong_in(&format!("stream.{name}.motion"), &motion).filter(|_| own)
    });
    of_all.into_iter().chain(of_streams).collect()
}

fn wrong_in(table: &str, motion: &Motion) -> Option<Wrong> {
    let (span, most) = (motion.min_duration, Span(Duration::from_secs(60)));
    (span > most).then(|| (format!("{table}.min_duration"), format!("{span} is more than {most}")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn settings(text: &str) -> Settings {
        toml::from_str(text).unwrap_or_else(|error| panic!("{error}"))
    }

    #[rstest]
    #[case("0.2%", 2, "0.2%")]
    #[case(" 5 % ", 50, "5%")]
    #[case("100%", 1_000, "100%")]
    fn parts_of_a_picture(#[case] text: &str, #[case] permille: u16, #[case] shown: &str) {
        let share: Share = text.parse().unwrap();
        assert_eq!((share.permille, share.to_string().as_str()), (permille, shown));
    }

    #[rstest]
    #[case("0%")]
    #[case("0.04%")]
    #[case("101%")]
    #[case("-1%")]
    #[case("NaN%")]
    #[case("5")]
    fn no_parts_of_a_picture(#[case] text: &str) {
        let error = text.parse::<Share>().unwrap_err().to_string();
        assert!(error.contains("is no part of a picture; write it like 0.2%"), "{error}");
    }

    #[test]
    fn there_are_two_modes() {
        for mode in ["full", "thrifty"] {
            assert_eq!(mode.parse::<Mode>().unwrap().to_string(), mode);
        }
        let error = "cheap".parse::<Mode>().unwrap_err().to_string();
        assert!(error.starts_with("\"cheap\" is no mode of motion"), "{error}");
    }

    #[test]
    fn masks_are_lists_or_a_text() {
        let mask = |text: &str| toml::from_str::<Settings>(&format!("[stream.door.motion]\nmask = {text}"));
        let of = |settings: Settings| settings.stream.values().next().unwrap().motion.mask.clone().unwrap();
        let lists = of(mask("[[[0, 0], [1, 0.0], [1, 0.5]], [[0.5, 0.5], [1, 1], [0, 1]]]").unwrap());
        let text = of(mask("\"0,0 1,0 1,0.5; 0.5,0.5 1,1 0,1\"").unwrap());
        assert_eq!(lists, text);
        assert_ne!(text.mask(), Mask::default());
        assert_eq!(of(mask("[]").unwrap()).mask(), Mask::default());
        for (text, why) in [
            ("[[[0, 0], [1, 1]]]", "polygon 1 has fewer than three corners"),
            ("\"0,0 1,0 1,2\"", "polygon 1 has a corner at 1, 2"),
            ("\"0,0 1,0 1\"", "\"1\" is no corner"),
            ("[[[0, 0, 1], [1, 1], [1, 0]]]", "a corner is two numbers"),
            ("[[[0], [1, 1], [1, 0]]]", "a corner is two numbers"),
            ("7", "polygons such as"),
        ] {
            let error = mask(text).unwrap_err();
            assert!(error.message().contains(why), "{text}: {error}");
        }
        let many = format!("[{}]", "[[0, 0], [1, 1], [1, 0]],".repeat(40));
        assert!(
            mask(&many)
                .unwrap_err()
                .message()
                .contains("33 polygons; 32 at the most")
        );
    }

    #[test]
    fn what_a_stream_says_wins() {
        let settings = settings(
            "[motion]\nsensitivity = 70\nmin_size = \"1%\"\n[stream.door.motion]\nenabled = true\nmode = \"thrifty\"\nsensitivity = 20",
        );
        let stream = settings.stream.values().next().unwrap();
        let motion = settings.motion.of_stream(&stream.motion);
        assert!(motion.enabled && !settings.motion.enabled);
        assert_eq!((motion.mode, motion.sensitivity), (Mode::Thrifty, 20));
        assert_eq!(motion.for_device(None).min_size_permille, 10);
        assert!(wrong(&settings).is_empty());
    }

    #[test]
    fn what_cannot_be_is_said_where_it_stands() {
        let wrong = |text: &str| wrong(&settings(text));
        let told = |key: &str| vec![(key.to_owned(), "61s is more than 1min".to_owned())];
        assert_eq!(
            wrong("[motion]\nmin_duration = \"61s\"\n[stream.a.motion]\nenabled = true"),
            told("motion.min_duration")
        );
        assert_eq!(
            wrong("[stream.a.motion]\nmin_duration = \"61s\""),
            told("stream.a.motion.min_duration")
        );
    }
}
