//! A walk over the records of a segment's file, from one place on: nothing that is not whole comes out of it.

use std::fs::File;
use std::io;

use bytes::Bytes;

use super::record::{HEAD, Head, MAGIC};

/// Read at once, where a walk goes over a whole file.
pub(super) const STRIDE: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Walk<'a> {
    file: &'a File,
    /// The next step begins here.
    at: u64,
    /// There is nothing beyond.
    end: u64,
    /// Bytes that are read at once.
    stride: usize,
    /// Records before this offset are passed over, and their bodies are not looked at.
    from: u64,
    /// Offsets only grow: a record before this one is none.
    least: u64,
    buffer: Bytes,
    /// Where in the file the buffer begins.
    buffer_at: u64,
}

#[derive(Debug)]
pub(super) enum Step {
    Record(Whole),
    /// What stands here, up to `to`, is no whole record; behind it there is one, or the end.
    Damage {
        at: u64,
        to: u64,
        /// The offset of a record whose body alone is damaged.
        offset: Option<u64>,
    },
    /// The beginning of a record whose rest is not there.
    Torn {
        at: u64,
    },
}

/// A record that is whole.
#[derive(Debug)]
pub(super) struct Whole {
    pub(super) at: u64,
    /// Of head and body.
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) body: Bytes,
}

impl<'a> Walk<'a> {
    /// Over what stands in the file from `at` to `end`, in strides of so many bytes.
    pub(super) fn new(file: &'a File, at: u64, end: u64, stride: usize) -> Self {
        Self {
            file,
            at,
            end,
            stride,
            from: 0,
            least: 0,
            buffer: Bytes::new(),
            buffer_at: at,
        }
    }

    /// Passes over the records before this offset.
    pub(super) fn from(mut self, offset: u64) -> Self {
        self.from = offset;
        self
    }

    /// Where the next step begins.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    pub(super) fn next(&mut self) -> io::Result<Option<Step>> {
        loop {
            let at = self.at;
            if at >= self.end {
                return Ok(None);
            }
            if !self.fill(at, HEAD)? {
                // A damaged file may be shorter than it was.
                self.at = self.end;
                return Ok(Some(Step::Torn { at }));
            }
            let Some(head) = Head::parse(self.bytes(at)).filter(|head| head.offset >= self.least) else {
                self.at = self.resume(at + 1)?;
                return Ok(Some(Step::Damage {
                    at,
                    to: self.at,
                    offset: None,
                }));
            };
            let to = at + head.size() as u64;
            if to > self.end {
                self.at = self.end;
                return Ok(Some(Step::Torn { at }));
            }
            if head.offset < self.from {
                (self.at, self.least) = (to, head.offset + 1);
                continue;
            }
            if !self.fill(at, head.size())? {
                self.at = self.end;
                return Ok(Some(Step::Torn { at }));
            }
            (self.at, self.least) = (to, head.offset + 1);
            let start = (at - self.buffer_at) as usize;
            let body = self.buffer.slice(start + HEAD..start + head.size());
            return Ok(Some(if head.fits(&body) {
                Step::Record(Whole {
                    at,
                    size: to - at,
                    offset: head.offset,
                    body,
                })
            } else {
                Step::Damage {
                    at,
                    to,
                    offset: Some(head.offset),
                }
            }));
        }
    }

    /// The place of the next head from here on, or the end.
    fn resume(&mut self, mut at: u64) -> io::Result<u64> {
        while at < self.end && self.fill(at, HEAD)? {
            let bytes = self.bytes(at);
            match bytes.windows(MAGIC.len()).position(|window| window == MAGIC) {
                Some(found) => {
                    at += found as u64;
                    if self.fill(at, HEAD)? && Head::parse(self.bytes(at)).is_some_and(|head| head.offset >= self.least)
                    {
                        return Ok(at);
                    }
                    at += 1;
                }
                // The magic may stand across the buffer's end.
                None => at += (bytes.len() - (MAGIC.len() - 1)) as u64,
            }
        }
        Ok(self.end)
    }

    /// What the buffer holds from this place on.
    fn bytes(&self, at: u64) -> &[u8] {
        &self.buffer[(at - self.buffer_at) as usize..]
    }

    /// Makes sure that so many bytes from this place on are in the buffer; false when there are not so many.
    fn fill(&mut self, at: u64, need: usize) -> io::Result<bool> {
        let there = (self.buffer_at + self.buffer.len() as u64).saturating_sub(at) as usize;
        if at >= self.buffer_at && there >= need {
            return Ok(true);
        }
        let most = usize::try_from(self.end - at).unwrap_or(usize::MAX);
        if need > most {
            return Ok(false);
        }
        let want = self.stride.max(need).min(most);
        let mut bytes = Vec::with_capacity(want);
        while bytes.len() < want {
            let place = at + bytes.len() as u64;
            match rustix::io::pread(self.file, rustix::buffer::spare_capacity(&mut bytes), place) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(most);
        self.buffer = Bytes::from(bytes);
        self.buffer_at = at;
        Ok(self.buffer.len() >= need)
    }
}
