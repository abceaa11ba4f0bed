// Many points, few pixels: neighbours that would be drawn over one another become one.

export const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
export const total = (values) => values.reduce((sum, value) => sum + value, 0);
export const latest = (values) => values.at(-1);

/** `columns`, of which the first is x, in bins `width` of x wide; `merge` has one function a column of values. */
export function binned(columns, width, merge) {
  const [x] = columns;
  if (!(width > 0) || x.length < 3) return columns;
  const ends = [];
  for (let row = 0; row < x.length; row += 1) {
    if (row + 1 === x.length || Math.floor(x[row + 1] / width) !== Math.floor(x[row] / width)) ends.push(row + 1);
  }
  const part = (values, number) => values.slice(number ? ends[number - 1] : 0, ends[number]);
  return columns.map((values, place) => ends.map((_, number) => {
    const known = part(values, number).filter((value) => value !== null && value !== undefined);
    if (!place) return known.at(-1);
    return known.length ? merge[place - 1](known) : null;
  }));
}
