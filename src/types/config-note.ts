/** A setting of a configuration file that is right and has no effect here, or not the one that its name suggests. */
export interface ConfigNote {
  /** The key, for example `metrics.grafana_enabled`; empty where it is a variable that is no setting. */
  path: string;
  /** In the file, from 1; absent where the setting came from the environment. */
  line?: number;
  column?: number;
  /** The environment variable that it came from. */
  variable?: string;
  message: string;
}
