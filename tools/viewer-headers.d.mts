/** The HTTP headers that the viewer is served with. */
export const viewerHeaders: Readonly<Record<string, string>>;
