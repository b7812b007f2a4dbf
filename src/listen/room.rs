//! Memory for request bodies: what all connections of a listener together have gathered and not answered yet.
//!
//! Takes a body as it comes, gives its bytes together with their [`Share`], which is given back when it is dropped: after the
//! answer. Promises: never more than the room holds, however many clients send however much; one address gets a quarter of it
//! at most. Nobody waits for room: without any a body is refused at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;

use super::Problem;
use crate::admit::block;

/// Bytes of room, unless single bodies may be larger than a quarter of it.
const ROOM: usize = 256 * 1024 * 1024;

/// The room of one listener.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// By address, as [`block`] counts them.
    by: HashMap<IpAddr, usize>,
}

/// What one request holds.
#[derive(Debug)]
pub(super) struct Share {
    room: Arc<Room>,
    block: IpAddr,
    bytes: usize,
}

impl Room {
    /// Room for bodies of up to `body_bytes`.
    pub(super) fn new(body_bytes: usize) -> Arc<Self> {
        Arc::new(Self { most: ROOM.max(body_bytes.saturating_mul(4)), held: Mutex::default() })
    }

    /// The whole of `body`, of at most `limit` bytes, from `address`.
    pub(super) async fn gather<B>(
        self: &Arc<Self>,
        mut body: B,
        limit: usize,
        address: IpAddr,
    ) -> Result<(Bytes, Share), Problem>
    where
        B: http_body::Body<Data = Bytes> + Unpin,
    {
        let mut share = Share { room: Arc::clone(self), block: block(address), bytes: 0 };
        let mut gathered = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Problem::BodyBroken)?.into_data() else { continue };
            if data.len() > limit - gathered.len() {
                return Err(Problem::BodyTooLarge);
            }
            share.widen(data.len())?;
            gathered.extend_from_slice(&data);
        }
        Ok((gathered.freeze(), share))
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    fn widen(&mut self, bytes: usize) -> Result<(), Problem> {
        let most = self.room.most;
        let mut held = self.room.held();
        let own = held.by.get(&self.block).copied().unwrap_or_default();
        if held.all.saturating_add(bytes) > most || own.saturating_add(bytes) > most / 4 {
            return Err(Problem::NoRoom);
        }
        held.all += bytes;
        held.by.insert(self.block, own + bytes);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut held = self.room.held();
        held.all = held.all.saturating_sub(self.bytes);
        let left = held.by.get(&self.block).map_or(0, |own| own.saturating_sub(self.bytes));
        if left == 0 {
            held.by.remove(&self.block);
        } else {
            held.by.insert(self.block, left);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed assumption fails the test")]

    use http_body_util::Full;

    use super::*;

    const HERE: [u8; 4] = [192, 0, 2, 1];

    fn room() -> Arc<Room> {
        Arc::new(Room { most: 40, held: Mutex::default() })
    }

    async fn gather(room: &Arc<Room>, bytes: usize, from: impl Into<IpAddr>) -> Result<Share, Problem> {
        let body = Full::new(Bytes::from(vec![b'x'; bytes]));
        let (gathered, share) = room.gather(body, 10, from.into()).await?;
        assert_eq!(gathered.len(), bytes);
        Ok(share)
    }

    #[tokio::test]
    async fn what_one_address_holds_is_a_quarter_at_most_and_comes_back_with_the_answer() {
        let room = room();
        let first = gather(&room, 6, HERE).await.unwrap();
        assert_eq!(gather(&room, 5, HERE).await.unwrap_err(), Problem::NoRoom);
        let second = gather(&room, 4, HERE).await.unwrap();
        assert_eq!(gather(&room, 1, HERE).await.unwrap_err(), Problem::NoRoom);
        drop(first);
        assert!(gather(&room, 6, HERE).await.is_ok());
        drop(second);
        let held = room.held();
        assert_eq!((held.all, held.by.len()), (0, 0), "nothing is left behind");
    }

    #[tokio::test]
    async fn all_addresses_together_hold_what_the_room_has_and_no_more() {
        let room = room();
        let mut shares = Vec::new();
        for last in 1..=4 {
            shares.push(gather(&room, 10, [192, 0, 2, last]).await.unwrap());
        }
        assert_eq!(gather(&room, 1, [192, 0, 2, 5]).await.unwrap_err(), Problem::NoRoom);
        assert!(gather(&room, 0, [192, 0, 2, 5]).await.is_ok(), "a request without a body needs none");
        shares.pop();
        assert!(gather(&room, 1, [192, 0, 2, 5]).await.is_ok());
    }

    #[tokio::test]
    async fn a_network_of_64_bits_holds_what_one_address_may() {
        let (room, address) = (room(), |text: &str| text.parse::<IpAddr>().unwrap());
        let _first = gather(&room, 10, address("2001:db8::1")).await.unwrap();
        assert_eq!(gather(&room, 1, address("2001:db8::2")).await.unwrap_err(), Problem::NoRoom);
        assert!(gather(&room, 1, address("2001:db8:0:1::1")).await.is_ok());
    }

    #[test]
    fn the_largest_body_that_is_taken_finds_room_in_an_empty_one() {
        for body_bytes in [1024, ROOM / 4, ROOM, 2 * ROOM] {
            assert!(Room::new(body_bytes).most / 4 >= body_bytes);
        }
    }

    #[tokio::test]
    async fn a_body_above_the_limit_holds_nothing() {
        let room = room();
        assert_eq!(gather(&room, 11, HERE).await.unwrap_err(), Problem::BodyTooLarge);
        assert_eq!(room.held().all, 0);
    }
}
