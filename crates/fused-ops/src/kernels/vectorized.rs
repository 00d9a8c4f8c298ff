//! Compiling a loop for the vector instructions of the processor that runs it.

/// Defines a function whose body is compiled several times, once for each set of vector
/// instructions, and picks one at run time.
///
/// `pulp` takes closures as well, but a closure may stay a function of its own, compiled for the least
/// processor; a method that must be inlined cannot.
macro_rules! vectorized {
    ($(#[$doc:meta])* fn $name:ident<$lt:lifetime>($($argument:ident: $type:ty),+ $(,)?) $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name<$lt>($($argument: $type),+) {
            struct Operation<$lt> {
                $($argument: $type,)+
                lifetime: std::marker::PhantomData<&$lt ()>,
            }
            impl pulp::WithSimd for Operation<'_> {
                type Output = ();
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, _: S) {
                    let Self { $($argument,)+ lifetime: _ } = self;
                    $body
                }
            }
            $crate::kernels::vectorized::dispatch(Operation { $($argument,)+ lifetime: std::marker::PhantomData });
        }
    };
}
pub(crate) use vectorized;

/// Runs the version of an operation that is compiled for this processor.
pub(crate) fn dispatch<Operation: pulp::WithSimd>(operation: Operation) -> Operation::Output {
    #[cfg(test)]
    match levels::forced() {
        levels::Level::Least => return pulp::Simd::vectorize(pulp::Scalar::new(), operation),
        #[cfg(target_arch = "x86_64")]
        levels::Level::Avx2 => {
            let avx2 = pulp::x86::V3::try_new().expect("asked before");
            return pulp::Simd::vectorize(avx2, operation);
        }
        levels::Level::Best => {}
    }
    pulp::Arch::new().dispatch(operation)
}

/// Versions for other processors, for tests.
#[cfg(test)]
pub(crate) mod levels {
    use std::sync::{
        Mutex, PoisonError,
        atomic::{AtomicU8, Ordering},
    };

    /// Sets of vector instructions.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Level {
        /// What this processor has.
        Best,
        /// What every processor has.
        Least,
        /// No AVX-512.
        #[cfg(target_arch = "x86_64")]
        Avx2,
    }

    /// Of all threads: rayon's take part. Other tests that run meanwhile must compute the same, and do.
    static FORCED: AtomicU8 = AtomicU8::new(Level::Best as u8);

    pub fn forced() -> Level {
        match FORCED.load(Ordering::Relaxed) {
            level if level == Level::Least as u8 => Level::Least,
            #[cfg(target_arch = "x86_64")]
            level if level == Level::Avx2 as u8 => Level::Avx2,
            _ => Level::Best,
        }
    }

    /// What `compute` gives with each set of instructions that this processor has.
    pub fn at_each<T>(compute: impl Fn() -> T) -> Vec<(Level, T)> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let mut levels = vec![Level::Best, Level::Least];
        #[cfg(target_arch = "x86_64")]
        levels.extend(pulp::x86::V3::try_new().map(|_| Level::Avx2));
        let at = |level| {
            FORCED.store(level as u8, Ordering::Relaxed);
            (level, compute())
        };
        let computed = levels.into_iter().map(at).collect();
        FORCED.store(Level::Best as u8, Ordering::Relaxed);
        computed
    }
}
