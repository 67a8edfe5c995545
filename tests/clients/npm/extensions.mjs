// Finds modules that are named without their extension, as bundlers do and Node.js does not. Some packages are written for bundlers only.

export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    return next(`${specifier}.js`, context);
  }
}
