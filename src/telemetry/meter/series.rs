use std::{array, ptr, sync::OnceLock};

/// The handles of one metric by the values of its labels: first come, first kept.
pub(super) struct Series<H, const LABELS: usize>([OnceLock<Entry<H, LABELS>>; KEPT]);

struct Entry<H, const LABELS: usize> {
    labels: [&'static str; LABELS],
    handle: H,
}

/// A server sees a few combinations all the time. Those beyond are looked up in the recorder each time.
const KEPT: usize = 24;

impl<H, const LABELS: usize> Series<H, LABELS> {
    /// Uses the handle with these labels. `register` takes it from the recorder.
    pub(super) fn with(
        &self,
        labels: [&'static str; LABELS],
        register: impl FnOnce([&'static str; LABELS]) -> H,
        update: impl FnOnce(&H),
    ) {
        let mut register = Some(register);
        for slot in &self.0 {
            // Of the threads that meet at an empty slot one fills it, and the others look whether it is theirs too.
            let entry = slot.get_or_init(|| {
                let handle = register.take().expect("a slot is filled once")(labels);
                Entry { labels, handle }
            });
            if entry.has(&labels) {
                return update(&entry.handle);
            }
        }
        if let Some(register) = register {
            update(&register(labels));
        }
    }
}

impl<H, const LABELS: usize> Entry<H, LABELS> {
    /// Compares addresses: names are constants. One that has two addresses takes two slots.
    fn has(&self, labels: &[&'static str; LABELS]) -> bool {
        self.labels.iter().zip(labels).all(|(own, other)| ptr::eq(*own, *other))
    }
}

impl<H, const LABELS: usize> Default for Series<H, LABELS> {
    fn default() -> Self {
        Self(array::from_fn(|_| OnceLock::new()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::{KEPT, Series};

    #[test]
    fn handles_are_kept_by_their_labels_and_those_beyond_are_not() {
        let names: Vec<&'static str> = (0..KEPT + 2).map(|number| &*number.to_string().leak()).collect();
        let (series, registered) = (Series::<&'static str, 2>::default(), Cell::new(0));
        let mut used = Vec::new();
        for _ in 0..3 {
            for name in &names {
                let register = |[first, _]: [&'static str; 2]| {
                    registered.set(registered.get() + 1);
                    first
                };
                series.with([name, "same"], register, |handle| used.push(*handle));
            }
        }
        assert_eq!(used, [&*names, &*names, &*names].concat());
        assert_eq!(registered.get(), KEPT + 3 * 2);
    }
}
