//! YUV4MPEG2, in which FFmpeg gives raw pictures: a line, and a line in front of each picture.

use std::io::{self, BufRead, Read as _};

use device::picture::Picture;

/// Longest line.
const MAX_LINE_BYTES: usize = 1_024;

/// Reads pictures of 4:2:0.
pub struct Reader<R> {
    from: R,
    size: (u32, u32),
}

/// Why there are no more. The text is for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It says something else than it may.
    #[error("it is no YUV4MPEG2 of 4:2:0: {0}")]
    Damaged(&'static str),
}

impl<R: BufRead> Reader<R> {
    /// Reads the first line. `None` where there is nothing.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(mut from: R) -> Result<Option<Self>, Error> {
        let line = line(&mut from)?;
        if line.is_empty() {
            return Ok(None);
        }
        let mut words = line.split(|&byte| byte == b' ');
        if words.next() != Some(b"YUV4MPEG2") {
            return Err(Error::Damaged("it begins otherwise"));
        }
        let (mut width, mut height) = (0, 0);
        for word in words {
            let (kind, value) = word.split_at(word.len().min(1));
            let number = || std::str::from_utf8(value).ok()?.parse::<u32>().ok();
            match kind {
                b"W" => width = number().ok_or(Error::Damaged("its width"))?,
                b"H" => height = number().ok_or(Error::Damaged("its height"))?,
                b"C" if !value.starts_with(b"420") || value.starts_with(b"420p") && value != b"420paldv" => {
                    return Err(Error::Damaged("another kind of colour"));
                }
                _ => {}
            }
        }
        match Picture::black(width, height) {
            Some(_) => Ok(Some(Self {
                from,
                size: (width, height),
            })),
            None => Err(Error::Damaged("its size")),
        }
    }

    /// The next picture; `None` at the end.
    ///
    /// # Errors
    /// [`Error`], also where it ends within a picture.
    #[expect(clippy::should_implement_trait, reason = "it can fail")]
    pub fn next(&mut self) -> Result<Option<Picture>, Error> {
        let line = line(&mut self.from)?;
        if line.is_empty() {
            return Ok(None);
        }
        if !line.starts_with(b"FRAME") {
            return Err(Error::Damaged("no FRAME in front of a picture"));
        }
        let (width, height) = self.size;
        let mut picture = Picture::black(width, height).ok_or(Error::Damaged("its size"))?;
        for plane in picture.planes_mut() {
            self.from.read_exact(plane)?;
        }
        Ok(Some(picture))
    }
}

/// A line without its end; nothing at the end of all.
fn line(from: &mut impl BufRead) -> Result<Vec<u8>, Error> {
    let mut line = Vec::new();
    from.take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(line),
        Some(b'\n') => Ok(line),
        Some(_) => Err(Error::Damaged("a line does not end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn pictures_come_as_they_were_written() {
        let mut bytes = b"YUV4MPEG2 W32 H16 F1:1 Ip A1:1 C420jpeg XYSCSS=420JPEG\n".to_vec();
        for n in 0..3_u8 {
            bytes.extend_from_slice(b"FRAME Ix\n");
            bytes.extend_from_slice(&[n + 10; 32 * 16 * 3 / 2]);
        }
        let mut reader = Reader::open(&bytes[..]).unwrap().unwrap();
        for n in 0..3_u8 {
            let picture = reader.next().unwrap().unwrap();
            assert_eq!((picture.width(), picture.height()), (32, 16));
            assert!(picture.as_bytes().iter().all(|&byte| byte == n + 10));
        }
        assert!(reader.next().unwrap().is_none());
        let mut short = Reader::open(&bytes[..bytes.len() - 1]).unwrap().unwrap();
        assert!(short.next().is_ok() && short.next().is_ok());
        assert!(matches!(short.next(), Err(Error::Io(_))));
    }

    #[rstest]
    #[case("RIFF\n", "begins otherwise")]
    #[case("YUV4MPEG2 W32\n", "its size")]
    #[case("YUV4MPEG2 W99999 H16\n", "its size")]
    #[case("YUV4MPEG2 Wx H16\n", "its width")]
    #[case("YUV4MPEG2 W32 H16 C444\n", "another kind of colour")]
    #[case("YUV4MPEG2 W32 H16 C420p10\n", "another kind of colour")]
    #[case("YUV4MPEG2 W32 H16", "a line does not end")]
    fn what_is_something_else_is_refused(#[case] text: &str, #[case] why: &str) {
        let error = Reader::open(text.as_bytes()).map(|_| ()).unwrap_err();
        assert!(error.to_string().ends_with(why), "{error}");
    }

    #[test]
    fn nothing_is_no_failure_and_a_line_has_an_end() {
        assert!(Reader::open(&b""[..]).unwrap().is_none());
        let long = vec![b'Y'; 10 * MAX_LINE_BYTES];
        assert!(matches!(Reader::open(&long[..]), Err(Error::Damaged(_))));
    }
}
