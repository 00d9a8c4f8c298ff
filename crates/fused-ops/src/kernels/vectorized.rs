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
            pulp::Arch::new().dispatch(Operation { $($argument,)+ lifetime: std::marker::PhantomData });
        }
    };
}
pub(crate) use vectorized;
