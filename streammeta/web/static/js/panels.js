// What is drawn: one entry a chart. `from` gives the values of a series from the columns of the history.

const column = (name) => (columns) => columns[name] || [];
const difference = (one, other) => (columns) =>
  (columns[one] || []).map((value, row) => (value === null || columns[other][row] === null ? null : value - columns[other][row]));

const phase = (name, label) => ({ label, color: name, from: column(`fading_${name}`), now: (s) => s.losses[name].now });
const accuracy = (name, label) => ({ label, color: name, from: column(`fading_accuracy_${name}`), now: (s) => s.accuracies[name].now });
const raw = (name, label) => ({ label: `${label}, raw`, color: name, from: column(`loss_${name}`), raw: true });

const WINDOW = "mean of the last ~100 events";

export const LEARNING = [
  {
    id: "loss", title: "Prequential loss", wide: true, scalable: true, unit: "loss", window: WINDOW,
    help: "Each event is predicted before it is learned from. Lines: fading means over the last 100 events or so; dots: the losses themselves.",
    series: [
      raw("meta", "at the meta-parameters"), raw("adapted", "after one adaptation"), raw("memory", "at the task's memory"),
      phase("meta", "at the meta-parameters"), phase("adapted", "after one adaptation"), phase("memory", "at the task's memory"),
    ],
  },
  {
    id: "accuracy", title: "Prequential accuracy", wide: true, low: true, optional: true, most: 1, window: WINDOW,
    help: "Share of the query set that was classified rightly before the event was learned from; fading means.",
    series: [
      accuracy("meta", "at the meta-parameters"), accuracy("adapted", "after one adaptation"), accuracy("memory", "at the task's memory"),
    ],
  },
  {
    id: "forgetting", title: "Forgetting", wide: true, low: true, optional: true, zero: true,
    help: "Loss on a task's own earlier query sets, and its rise since they were learned from. Above 0, the task forgets; below, it still gains. Fading means.",
    series: [
      { label: "loss on earlier query sets", color: "first", from: column("fading_loss_earlier") },
      { label: "rise since", color: "second", from: column("fading_forgetting") },
    ],
  },
  {
    id: "gain", title: "Adaptation gain", unit: "loss",
    help: "Loss at the meta-parameters minus loss after one adaptation. Above 0, adapting helps.",
    zero: true,
    series: [{ label: "gain", color: "adapted", from: difference("fading_meta", "fading_adapted"), now: (s) => s.adaptation_gain }],
  },
  {
    id: "norms", title: "Meta-gradient and update", scalable: true, always: "log",
    help: "Euclidean norms: the meta-gradient of an event, and how far it moved the meta-parameters. Lines are smoothed.",
    series: [
      { label: "gradient, raw", color: "first", from: column("gradient_norm"), raw: true },
      { label: "update, raw", color: "second", from: column("update_norm"), raw: true },
      { label: "gradient", color: "first", from: column("gradient_norm"), smooth: true },
      { label: "update", color: "second", from: column("update_norm"), smooth: true },
    ],
  },
  {
    id: "tracking", title: "Memory tracking error", scalable: true,
    help: "Distance between a task's memory and the model freshly adapted to it: what the convergence theory bounds.",
    series: [
      { label: "raw", color: "memory", from: column("tracking_error"), raw: true },
      { label: "fading mean", color: "memory", from: column("fading_tracking_error") },
    ],
  },
  {
    id: "rates", title: "Learning rates", always: "log",
    help: "The rates in force, in the inner loop (adaptation) and the meta loop.",
    series: [
      { label: "inner", color: "first", from: column("inner_lr") },
      { label: "meta", color: "second", from: column("meta_lr") },
    ],
  },
];

const rate = (name) => (columns) =>
  (columns[name] || []).map((value, row) => (value === null || !columns.covered_seconds[row] ? null : value / columns.covered_seconds[row]));
export const perSecond = rate("learned");

/** One set of bars for each column of that name. */
const counts = (prefix) => (columns) => Object.keys(columns).filter((name) => name.startsWith(prefix)).map((name, place) => ({
  label: name.slice(prefix.length).replaceAll("_", " "),
  color: REASON_COLORS[place % REASON_COLORS.length],
  from: column(name), bars: true,
}));

const REASON_COLORS = ["meta", "adapted", "memory", "first", "second", "third", "fourth", "faint"];

export const OPERATION = [
  {
    id: "throughput", title: "Throughput", unit: "events/s", zero: true,
    help: "Events learned from each second; with single examples also the records that only waited for an episode.",
    series: (columns) => [
      { label: "events/s", color: "adapted", from: perSecond, fill: true },
      ...(columns.skipped?.some((value) => value > 0) ? [{ label: "waiting/s", color: "second", from: rate("skipped") }] : []),
    ],
  },
  {
    id: "lag", title: "Lag", unit: "records", zero: true,
    help: "Records between the learner and the end of the topic. Shaded: no broker.",
    series: [{ label: "records", color: "meta", from: column("lag"), fill: true }],
  },
  {
    id: "checkpoint", title: "Checkpoint age", unit: "s", zero: true,
    help: "Seconds since the last checkpoint. It grows while there is nothing new to write.",
    series: [{ label: "seconds", color: "first", from: column("checkpoint_age_seconds") }],
  },
  {
    id: "letters", title: "Dead letters", unit: "records", zero: true, empty: "none in this history",
    help: "Records that could not be used, by reason, in each interval of the history.",
    series: counts("dead_letters_"),
  },
  {
    id: "dropped", title: "Examples dropped", wide: true, low: true, optional: true, zero: true,
    help: "Expired: tasks whose examples waited too long for an episode. Unmatched: inputs or labels whose other half did not come in time.",
    series: counts("dropped_"),
  },
];

export const VISITS = {
  id: "visits", title: "Last visits", wide: true, scalable: true, dots: true,
  help: "The losses of the task's last visits, each before it was learned from.",
  series: [
    { label: "at the meta-parameters", color: "meta", from: column("meta") },
    { label: "after one adaptation", color: "adapted", from: column("adapted") },
    { label: "at the task's memory", color: "memory", from: column("memory") },
  ],
};

export const PREDICTION = {
  id: "prediction", title: "What was learned", wide: true, exact: true,
  help: "What the model answers for each x: with the meta-parameters, with the task's memory, and adapted to the points. Click to add a point.",
  empty: "no answer yet",
  series: (columns) => [
    { label: "at the meta-parameters", color: "meta", from: column("meta") },
    { label: "at the task's memory", color: "memory", from: column("memory") },
    { label: "adapted to the points", color: "adapted", from: column("adapted") },
    { label: "points", color: "ink", from: column("points"), points: true },
  ].filter((series) => columns[{ ink: "points" }[series.color] || series.color]),
};
