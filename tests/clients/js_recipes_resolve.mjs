// Recipes find their packages here.
export const resolve = (specifier, context, next) =>
  next(specifier, context.parentURL?.includes("/clients/js/recipes/") ? { ...context, parentURL: import.meta.url } : context);
