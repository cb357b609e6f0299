//! An array that grows while it is shared: segments, allocated on first need, each as long as all
//! before it together. An element stays where it is until the whole is dropped.

use alloc::boxed::Box;
use core::{array, iter, ptr, slice};

use crate::sync::{AtomicPtr, Ordering, const_fn};

/// The number of elements in the first segment, a power of two. Small, because most barriers are.
const FIRST: usize = 4;

/// Enough for 2^32 elements.
const SEGMENTS: usize = 33 - FIRST.ilog2() as usize;

/// The first index of segment `k`.
const fn start(k: usize) -> usize {
    if k == 0 { 0 } else { FIRST << (k - 1) }
}

const fn len(k: usize) -> usize {
    if k == 0 { FIRST } else { FIRST << (k - 1) }
}

/// The number of segments whose pointers take no allocation. One under loom, so that models reach the
/// others.
const DIRECT: usize = if cfg!(atomic_barrier_loom) { 1 } else { 15 };

/// Elements that are shared and made on first need.
pub(crate) struct Segments<T: Send + Sync> {
    /// Pointers to the first element of each segment; null from the first that does not exist.
    direct: [AtomicPtr<T>; DIRECT],
    /// The pointers after those, or null if there are none yet.
    others: AtomicPtr<Others<T>>,
}

struct Others<T>([AtomicPtr<T>; SEGMENTS - DIRECT]);

impl<T: Default + Send + Sync> Segments<T> {
    const_fn! {
        /// No segment, no allocation.
        pub(crate) const fn new() -> Self {
            #[cfg(not(atomic_barrier_loom))]
            let direct = [const { AtomicPtr::new(ptr::null_mut()) }; DIRECT];
            #[cfg(atomic_barrier_loom)]
            let direct = array::from_fn(|_| AtomicPtr::new(ptr::null_mut()));
            Self {
                direct,
                others: AtomicPtr::new(ptr::null_mut()),
            }
        }
    }

    /// What `find` gives for the first element, from `hint` on and then around, for which it gives
    /// anything, and the index of that. Grows until there is one.
    ///
    /// While others leave elements and take others, it may go past a free one, and grow although there
    /// was one at any time: there is no moment at which it sees all.
    #[cold]
    pub(crate) fn find_or_grow<'a, R>(
        &'a self,
        hint: usize,
        find: impl Fn(&'a T) -> Option<R>,
    ) -> (usize, R) {
        let mut first = hint;
        loop {
            let segments = self.segments_now();
            let found = (segments > 0).then(|| {
                iter::successors(Some(first), |index| index.checked_add(1))
                    .map_while(|index| Some((index, self.get(index)?)))
                    .chain(self.iter().enumerate().take(first))
                    .find_map(|(index, element)| Some((index, find(element)?)))
            });
            if let Some(found) = found.flatten() {
                return found;
            }
            first = self.grow(segments);
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        let k = (index | (FIRST - 1)).ilog2() as usize - (FIRST - 1).ilog2() as usize;
        let segment = self.segment(k)?;
        // As long as the segment: a power of two, which its first index is a multiple of.
        let len = 1 << (index | FIRST).ilog2();
        debug_assert!(segment.len() == len && start(k) + (index & (len - 1)) == index);
        // SAFETY: what is masked is below `len`.
        Some(unsafe { segment.get_unchecked(index & (len - 1)) })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..SEGMENTS).map_while(|k| self.segment(k)).flatten()
    }

    /// How many elements there are by now.
    pub(crate) fn count(&self) -> usize {
        start(self.segments_now())
    }

    /// How many segments there are by now.
    fn segments_now(&self) -> usize {
        (0..SEGMENTS)
            .take_while(|&k| self.segment(k).is_some())
            .count()
    }

    /// From the last to the first, with their indices.
    pub(crate) fn iter_backwards(&self) -> impl Iterator<Item = (usize, &T)> {
        let segments = (0..SEGMENTS)
            .rev()
            .filter_map(|k| Some((k, self.segment(k)?)));
        segments.flat_map(|(k, segment)| (start(k)..start(k) + len(k)).zip(segment).rev())
    }

    /// Segment `k`, if there is one.
    fn segment(&self, k: usize) -> Option<&[T]> {
        // Acquire: pairs with `grow`.
        let first = self.pointer(k)?.load(Ordering::Acquire);
        if first.is_null() {
            return None;
        }
        // SAFETY: `grow` put a boxed slice of `len(k)` elements there, which only `drop` takes away;
        // elements are touched by shared reference alone.
        Some(unsafe { slice::from_raw_parts(first, len(k)) })
    }

    /// The pointer to segment `k`, if it has a place.
    fn pointer(&self, k: usize) -> Option<&AtomicPtr<T>> {
        self.direct
            .get(k)
            .or_else(|| self.others()?.0.get(k - DIRECT))
    }

    #[cold]
    fn others(&self) -> Option<&Others<T>> {
        // Acquire: pairs with `make_others`.
        let others = self.others.load(Ordering::Acquire);
        // SAFETY: it is null, or `make_others` put it there, and only `drop` takes it away.
        unsafe { others.as_ref() }
    }

    /// Makes a place for the pointers beyond the direct ones, if no other thread has.
    fn make_others(&self) {
        let others = array::from_fn(|_| AtomicPtr::new(ptr::null_mut()));
        let others = Box::into_raw(Box::new(Others(others)));
        // Release: pairs with `others`. On failure Relaxed: nothing is read through the other's pointer
        // before `others` loads it again.
        if self
            .others
            .compare_exchange(
                ptr::null_mut(),
                others,
                Ordering::Release,
                Ordering::Relaxed,
            )
            .is_err()
        {
            // SAFETY: it was boxed above; nobody else has seen it.
            drop(unsafe { Box::from_raw(others) });
        }
    }

    /// Adds segment `k`, if no other thread has, after all before it. Returns the index of its first
    /// element.
    fn grow(&self, k: usize) -> usize {
        assert!(k < SEGMENTS, "at most 2^32 waiters at once");
        if self.segment(k).is_some() {
            return start(k);
        }
        if self.pointer(k).is_none() {
            self.make_others();
        }
        let pointer = self.pointer(k).expect("all have a place by now");
        let elements: Box<[T]> = iter::repeat_with(T::default).take(len(k)).collect();
        let first = Box::into_raw(elements).cast::<T>();
        // Release: pairs with `segment`. On failure Relaxed: nothing is read through the other's pointer
        // before `segment` loads it again.
        if pointer
            .compare_exchange(ptr::null_mut(), first, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            // SAFETY: `first` is the slice of `len(k)` elements boxed above; nobody else has seen it.
            drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(first, len(k))) });
        }
        start(k)
    }
}

impl<T: Send + Sync> Drop for Segments<T> {
    fn drop(&mut self) {
        // Relaxed, here and below: the array is this thread's alone.
        let others = self.others.load(Ordering::Relaxed);
        // SAFETY: `make_others` boxed it and put it there once. With `&mut self`, no reference to it is left.
        let others = (!others.is_null()).then(|| unsafe { Box::from_raw(others) });
        let others = others.iter().flat_map(|others| &others.0);
        for (k, segment) in self.direct.iter().chain(others).enumerate() {
            let first = segment.load(Ordering::Relaxed);
            if first.is_null() {
                // Nor are there any after it.
                break;
            }
            // SAFETY: `grow` boxed this slice of `len(k)` elements and put it there once. With
            // `&mut self`, no reference into it is left.
            drop(unsafe { Box::from_raw(ptr::slice_from_raw_parts_mut(first, len(k))) });
        }
    }
}
