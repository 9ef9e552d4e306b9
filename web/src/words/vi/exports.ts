import type { exports as en } from '../en/exports';

/** Of the exports. */
export const exports: typeof en = {
  title: 'Bản xuất',
  none: 'Chưa có bản xuất nào',
  noneNext: 'Hãy chọn một khoảng trên dòng thời gian rồi bấm Xuất.',
  toTimeline: 'Đến dòng thời gian',
  loading: 'Đang tìm…',
  failed: 'Không lấy được danh sách bản xuất',
  off: 'Tính năng ghi hình đang tắt',
  download: 'Tải xuống',
  play: 'Phát',
  remove: 'Xóa',
  stop: 'Dừng',
  removeTitle: 'Xóa bản xuất này?',
  removeWhat: (name) => `“${name}” sẽ bị xóa khỏi máy chủ. Bản ghi gốc vẫn còn.`,
  removeDo: 'Xóa',
  cancel: 'Hủy',
  removed: (name) => `Đã xóa “${name}”.`,
  queued: 'Đang chờ đến lượt',
  running: (percent) => `${percent} %`,
  failedBecause: (why) => `Thất bại: ${why}`,
  timelapse: (speed) => `Tua nhanh ${speed}×`,
  exact: 'chính xác đến từng khung hình',
  gaps: (gaps) => `bỏ qua ${gaps} khoảng trống`,
  rest: (time, why) => `Phần từ ${time} trở đi cần một tệp riêng: ${why}`,
  progress: (name) => `Tiến độ của ${name}`,
};
